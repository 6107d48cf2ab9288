#ifndef TRL_PLANTED_H
#define TRL_PLANTED_H
#include <stddef.h>
#include <stdint.h>

uint8_t trl_planted_overflow(const uint8_t *buf, size_t len);   /* reads buf[len] */
int     trl_planted_shift(int by);                              /* 1 << by, undefined from 31 on */
#endif

/* Read-modify-write of 32-bit words that other processes of the host share. Sequentially consistent. */
#include "trl.h"

uint32_t trl_cas32(uint32_t *word, uint32_t old, uint32_t value)
{
    __atomic_compare_exchange_n(word, &old, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    return old;
}

uint32_t trl_fetch_add32(uint32_t *word, uint32_t n)
{
    return __atomic_fetch_add(word, n, __ATOMIC_SEQ_CST);
}

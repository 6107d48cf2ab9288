/*
 * Runs a fuzz target once on each file that is named: what libFuzzer found, without libFuzzer. `replay TARGET FILE...`. Each input
 * lies in memory of its own exact size, so that the sanitizer sees a byte too far.
 *
 * Every target is compiled with LLVMFuzzerTestOneInput renamed to fuzz_TARGET.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TARGETS(X) X(parse) X(options) X(gso) X(gro) X(checksum) X(intervals) X(ring) X(tap) X(guard) X(emit)
#define DECLARE(name) int fuzz_##name(const uint8_t *data, size_t size);
#define ROW(name) {#name, fuzz_##name},

TARGETS(DECLARE)

static const struct { const char *name; int (*run)(const uint8_t *, size_t); } targets[] = {TARGETS(ROW)};

int main(int argc, char **argv)
{
    int (*run)(const uint8_t *, size_t) = NULL;
    for (size_t i = 0; argc > 1 && i < sizeof targets / sizeof *targets; i++)
        if (strcmp(argv[1], targets[i].name) == 0)
            run = targets[i].run;
    if (!run) {
        fprintf(stderr, "usage: replay TARGET FILE...\n");
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        FILE *f = fopen(argv[i], "rb");
        long size = f && fseek(f, 0, SEEK_END) == 0 ? ftell(f) : -1;
        uint8_t *data = malloc(size > 0 ? (size_t)size : 1);
        if (size < 0 || !data || fseek(f, 0, SEEK_SET) != 0 || fread(data, 1, (size_t)size, f) != (size_t)size) {
            perror(argv[i]);
            return 2;
        }
        fclose(f);
        run(data, (size_t)size);
        free(data);
    }
    printf("%d inputs\n", argc - 2);
    return 0;
}

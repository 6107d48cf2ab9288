/*
 * How compiled Python (tools/compile.py) calls the leaves: straight, its numbers and pointers taken from where they are. Through
 * cffi each number is made an object first, and the lock of the interpreter is given up and taken again: of a frame's way in or
 * out that was a tenth. tools/compile.py writes a function trl_straight_NAME for each leaf NAME that is called so, with these.
 *
 * A pointer is a bytes object or a cffi pointer, array or struct. A number that does not fit is an OverflowError, as cffi has it.
 */
#ifndef TRL_DIRECT_H
#define TRL_DIRECT_H
#include <time.h>

/* The beginning of every cffi object (CDataObject of _cffi_backend.c). tools/compile.py looks whether it is so. */
struct trl_cdata { PyObject_HEAD void *type; void *data; };

enum { TRL_CDATA_TYPES = 4 };
extern PyTypeObject *trl_cdata_types[TRL_CDATA_TYPES];

/* Whether it is a cffi object; its type is remembered. */
int trl_is_cdata(PyObject *object);
/* What is wrong with an argument is set as the error. */
void trl_not_a_pointer(PyObject *object);
void trl_not_a_number(void);
void trl_not_so_long(size_t size);

static inline int trl_pointer(PyObject *object, void **out)
{
    PyTypeObject *type = Py_TYPE(object);
    if (type == &PyBytes_Type) {
        *out = PyBytes_AS_STRING(object);
        return 1;
    }
    if (type == trl_cdata_types[0] || type == trl_cdata_types[1] || type == trl_cdata_types[2] || trl_is_cdata(object)) {
        *out = ((struct trl_cdata *)object)->data;
        return 1;
    }
    trl_not_a_pointer(object);
    return 0;
}

static inline int trl_number(CPyTagged number, unsigned long long most, unsigned long long *out)
{
    Py_ssize_t value = (Py_ssize_t)number >> 1;
    if (!(number & CPY_INT_TAG) && value >= 0 && (unsigned long long)value <= most) {
        *out = (unsigned long long)value;
        return 1;
    }
    trl_not_a_number();
    return 0;
}

/* ffi.unpack() of a char pointer: so many bytes from there. */
static inline PyObject *trl_copy(PyObject *from, CPyTagged length)
{
    void *at;
    unsigned long long size;
    if (!(trl_pointer(from, &at) && trl_number(length, PY_SSIZE_T_MAX, &size)))
        return NULL;
    return PyBytes_FromStringAndSize(at, (Py_ssize_t)size);
}

/* time.monotonic_ns() */
static inline CPyTagged trl_monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (CPyTagged)((long long)t.tv_sec * 1000000000 + t.tv_nsec) << 1;
}
#endif

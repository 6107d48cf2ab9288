/* What direct.h needs once. Only the library of the compiled form has it. */
#include "Python.h"
#include "CPy.h"
#include "direct.h"

PyTypeObject *trl_cdata_types[TRL_CDATA_TYPES];

int trl_is_cdata(PyObject *object)
{
    static PyTypeObject *base;
    if (base == NULL) {
        PyObject *backend = PyImport_ImportModule("_cffi_backend");
        base = backend ? (PyTypeObject *)PyObject_GetAttrString(backend, "_CDataBase") : NULL;
        Py_XDECREF(backend);
        if (base == NULL) {
            PyErr_Clear();
            return 0;
        }
    }
    PyTypeObject *type = Py_TYPE(object);
    if (!PyType_IsSubtype(type, base))
        return 0;
    for (int i = 0; i < TRL_CDATA_TYPES; i++) {
        if (trl_cdata_types[i] == NULL)
            trl_cdata_types[i] = type;
        if (trl_cdata_types[i] == type)
            break;
    }
    return 1;
}

void trl_not_a_pointer(PyObject *object)
{
    PyErr_Format(PyExc_TypeError, "a leaf takes bytes or a cffi pointer, not %s", Py_TYPE(object)->tp_name);
}

void trl_not_a_number(void)
{
    PyErr_SetString(PyExc_OverflowError, "a number that a leaf was given does not fit its argument");
}

void trl_not_so_long(size_t size)
{
    PyErr_Format(PyExc_ValueError, "the fields of a struct are taken from %zu bytes", size);
}

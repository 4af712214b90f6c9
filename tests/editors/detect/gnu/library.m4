# library.m4 serial 3
# Looks for a library, and says where it is.

AU_ALIAS([XM_PATH], [XM_LIB_MESH])
AC_DEFUN([XM_LIB_MESH],
[
  AC_ARG_WITH([mesh], [AS_HELP_STRING([--with-mesh=DIR], [where it is])])
  if
    test "x$with_mesh" = xno; then
    xm_libs=
  fi
import "this is no import of ours"
policy half (
])

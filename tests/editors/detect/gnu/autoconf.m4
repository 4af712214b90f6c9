dnl Looks for a policy.
AC_DEFUN([XM_CHECK_POLICY], [
  AC_CHECK_HEADERS([linux/bpf.h])
  policy this is help text
])

"""sh: the shell (POSIX.1 chapter 2, as dash has it)."""

"""The programs of /bin and /usr/bin, one file each: a file with `main(sys, argv)`."""

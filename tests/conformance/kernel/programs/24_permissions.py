"""The permission walk: search on each directory, sticky and setgid directories, umask, root, set-id, chown."""

from userland.abi import *


def err(call, *args):
    try:
        return call(*args)
    except OSError as error:
        return errno_name(error.errno)


def mode(sys, name):
    st = sys.lstat(name)
    return oct(st.st_mode & 0o7777), st.st_uid, st.st_gid


def main(sys, argv):
    here = "/tmp/trl-perm-%d" % sys.getpid()
    sys.mkdir(here)
    sys.chmod(here, 0o755)
    sys.chdir(here)
    sys.umask(0o27)
    sys.close(sys.open("f", O_CREAT | O_WRONLY, 0o777))
    sys.mkdir("d", 0o777)
    sys.mkfifo("p", 0o666)
    sys.mknod("n", S_IFREG | 0o666)
    print("umask:", mode(sys, "f"), mode(sys, "d"), mode(sys, "p"), mode(sys, "n"), oct(sys.umask(0)))
    sys.mkdir("search", 0o711)
    sys.mkdir("listing", 0o744)
    for where in ("search", "listing"):
        sys.close(sys.open(where + "/x", O_CREAT | O_WRONLY, 0o644))
    sys.mkdir("sticky")
    sys.chmod("sticky", 0o1777)
    sys.mkdir("group")
    sys.chown("group", -1, 2000)
    sys.chmod("group", 0o2777)
    sys.close(sys.open("sticky/roots", O_CREAT | O_WRONLY, 0o666))
    for uid in (1000, 1001):
        sys.close(sys.open("sticky/%d" % uid, O_CREAT | O_WRONLY, 0o666))
        sys.chown("sticky/%d" % uid, uid, uid)
    sys.close(sys.open("only-group", O_CREAT | O_WRONLY, 0o644))
    sys.chmod("only-group", 0o604)
    sys.chown("only-group", 0, 1000)
    sys.close(sys.open("no-one", O_CREAT | O_WRONLY, 0o644))
    sys.chmod("no-one", 0)
    print(
        "root reads and writes all:",
        err(sys.open, "no-one", O_RDWR) not in ("EACCES", "EPERM"),
        err(sys.access, "no-one", R_OK | W_OK),
        err(sys.access, "no-one", X_OK),
    )
    sys.close(sys.open("suid", O_CREAT | O_WRONLY, 0o755))
    sys.chmod("suid", 0o6755)
    sys.chown("suid", 1000, 1000)
    print("chown clears set-id bits:", mode(sys, "suid"))
    sys.chmod("suid", 0o6777)

    def user(sys):
        sys.setgroups([1000, 3000])
        sys.setresgid(1000, 1000, 1000)
        sys.setresuid(1000, 1000, 1000)
        print("ids:", sys.getresuid(), sys.getresgid(), sys.getgroups())
        print(
            "search only:",
            err(sys.stat, "search/x") != "EACCES",
            err(sys.open, "search", O_RDONLY),
            err(sys.open, "search/y", O_CREAT | O_WRONLY),
        )
        print(
            "list only:",
            err(sys.stat, "listing/x"),
            err(sys.open, "listing", O_RDONLY) not in ("EACCES",),
            err(sys.chdir, "listing"),
        )
        print(
            "the first class that matches decides:",
            err(sys.open, "only-group", O_RDONLY),
            err(sys.open, "f", O_RDONLY),
            err(sys.unlink, "f"),
        )
        print(
            "sticky:",
            err(sys.unlink, "sticky/roots"),
            err(sys.unlink, "sticky/1001"),
            err(sys.rename, "sticky/1001", "sticky/mine"),
            err(sys.rename, "sticky/1000", "sticky/roots"),
            err(sys.unlink, "sticky/1000"),
        )
        sys.close(sys.open("group/file", O_CREAT | O_WRONLY, 0o666))
        sys.mkdir("group/dir", 0o755)
        print("setgid directory:", mode(sys, "group/file"), mode(sys, "group/dir"))
        sys.close(sys.open("group/exec", O_CREAT | O_WRONLY, 0o2775))
        print("setgid file in a foreign group:", mode(sys, "group/exec"))
        print(
            "chown:",
            err(sys.chown, "group/file", 1001, -1),
            err(sys.chown, "group/file", -1, 4000),
            err(sys.chown, "group/file", -1, 3000),
            mode(sys, "group/file"),
            err(sys.chown, "group/file", 1000, -1),
        )
        print(
            "chmod:",
            err(sys.chmod, "f", 0o777),
            err(sys.chmod, "group/file", 0o2755),
            mode(sys, "group/file"),
            err(sys.chmod, "group/exec", 0o2755),
            mode(sys, "group/exec"),
        )
        fd = sys.open("suid", O_WRONLY)
        sys.write(fd, b"x")
        print("writing clears set-id bits:", mode(sys, "suid"))
        print(
            "utimensat:",
            err(sys.utimensat, AT_FDCWD, "suid", (5_000_000_000, 6_000_000_000)),
            err(sys.utimensat, AT_FDCWD, "sticky/roots", (0, 0)),
            err(sys.utimensat, AT_FDCWD, "sticky/roots", None),
            err(sys.utimensat, AT_FDCWD, "f", None),
        )
        print("mtime:", sys.stat("suid").st_mtime_ns, sys.stat("suid").st_atime_ns)
        print(
            "not for users:",
            err(sys.chroot, "/"),
            err(sys.mknod, "sticky/dev", S_IFCHR | 0o666, 0x103),
            err(sys.mount, "none", "d", "tmpfs"),
            err(sys.setresuid, 0, 0, 0),
            err(sys.setuid, 0),
            err(sys.setgroups, [0]),
            err(sys.setgid, 0),
        )
        print(
            "access:",
            err(sys.access, "search", W_OK),
            err(sys.access, "search", X_OK),
            err(sys.access, "none", F_OK),
            err(sys.access, "listing/x", F_OK),
            err(sys.access, "f", 8),
        )
        print("a link to somebody's file:", err(sys.link, "f", "sticky/link"))
        return 0

    print("user:", sys.wait4(sys.spawn(user))[1])

    def real_and_effective(sys):
        sys.setresuid(1000, 0, 0)
        print(
            "access asks the real id:",
            err(sys.access, "no-one", R_OK),
            err(sys.faccessat2, AT_FDCWD, "no-one", R_OK, AT_EACCESS),
        )
        print("setuid:", sys.setuid(1234), sys.getresuid())
        return 0

    sys.wait4(sys.spawn(real_and_effective))

    def ids(sys):
        print(
            "setreuid:",
            sys.setreuid(-1, 500),
            sys.getresuid(),
            sys.setreuid(500, -1),
            sys.getresuid(),
            err(sys.setreuid, 0, 0),
            err(sys.setresuid, -1, 7, -1),
        )
        print(
            "back to the saved id:",
            err(sys.seteuid, 0) if False else sys.setresuid(-1, 500, 500),
            err(sys.setresuid, 0, 0, 0),
        )
        return 0

    sys.wait4(sys.spawn(ids))

    def filesystem_id(sys):
        print(
            "setfsuid:",
            sys.setfsuid(1000),
            sys.setfsuid(-1),
            err(sys.open, "no-one", O_RDONLY),
            sys.setfsuid(0),
            sys.getuid(),
        )
        return 0

    sys.wait4(sys.spawn(filesystem_id))

    def capabilities(sys):
        e, p, i = sys.capget(0)
        print("root has:", e & 1, p & 1, i)
        sys.prctl(PR_SET_KEEPCAPS, 1)
        sys.setresuid(1000, 1000, 1000)
        e, p, i = sys.capget(0)
        print("keepcaps:", e, p & 3)
        sys.capset(1 << CAP_DAC_OVERRIDE, p, 0)
        print(
            "with CAP_DAC_OVERRIDE:",
            err(sys.open, "no-one", O_RDWR) not in ("EACCES", "EPERM"),
            err(sys.chown, "f", 1000, 1000),
            err(sys.chroot, "/"),
        )
        sys.capset(0, 0, 0)
        print("given up:", err(sys.capset, 1, 1, 0), err(sys.open, "no-one", O_RDONLY))
        return 0

    sys.wait4(sys.spawn(capabilities))

    def rooted(sys):
        sys.mkdir("jail")
        sys.mkdir("jail/in")
        sys.chroot("jail")
        sys.chdir("/")
        print(
            "chroot:",
            sys.getcwd(),
            err(sys.stat, "/in") != "ENOENT",
            err(sys.stat, "/../../../tmp"),
            err(sys.stat, "/tmp"),
            sys.stat("/..").st_ino == sys.stat("/").st_ino,
        )
        return 0

    sys.wait4(sys.spawn(rooted))
    sys.rmdir("jail/in")
    for name in (
        "group/file",
        "group/exec",
        "sticky/roots",
        "sticky/1001",
        "search/x",
        "listing/x",
        "f",
        "p",
        "n",
        "only-group",
        "no-one",
        "suid",
    ):
        sys.unlink(name)
    for name in ("group/dir", "group", "sticky", "search", "listing", "d", "jail"):
        sys.rmdir(name)
    sys.chdir("/")
    sys.rmdir(here)

"""inotify: what happens in a directory and to a file."""

from userland.abi import *


def err(call, *args):
    try:
        return call(*args)
    except OSError as error:
        return errno_name(error.errno)


NAMES = ((IN_ACCESS, "ACCESS"), (IN_MODIFY, "MODIFY"), (IN_ATTRIB, "ATTRIB"), (IN_CLOSE_WRITE, "CLOSE_WRITE"),
         (IN_CLOSE_NOWRITE, "CLOSE_NOWRITE"), (IN_OPEN, "OPEN"), (IN_MOVED_FROM, "MOVED_FROM"),
         (IN_MOVED_TO, "MOVED_TO"), (IN_CREATE, "CREATE"), (IN_DELETE, "DELETE"), (IN_DELETE_SELF, "DELETE_SELF"),
         (IN_MOVE_SELF, "MOVE_SELF"), (IN_IGNORED, "IGNORED"), (IN_ISDIR, "ISDIR"))


def main(sys, argv):
    here = "/tmp/trl-inotify-%d" % sys.getpid()
    sys.mkdir(here)
    sys.mount("none", here, "tmpfs", 0, "")
    sys.chdir(here)
    fd = sys.inotify_init1(IN_NONBLOCK | IN_CLOEXEC)

    def events(what):
        found, cookies = [], []
        while True:
            data = err(sys.read, fd, 4096)
            if data == "EAGAIN":
                break
            at = 0
            while at < len(data):
                wd, mask, cookie, size = (int.from_bytes(data[at + i : at + i + 4], "little") for i in (0, 4, 8, 12))
                name = data[at + 16 : at + 16 + size].rstrip(b"\0").decode()
                found.append("%d:%s:%s" % (wd, "|".join(t for bit, t in NAMES if mask & bit), name))
                if cookie:
                    cookies.append(cookie)
                at += 16 + size
        print(what, found, "joined" if cookies and len(set(cookies)) == len(cookies) // 2 else len(cookies))

    print("watch:", sys.inotify_add_watch(fd, here, IN_ALL_EVENTS))
    f = sys.open("a", O_CREAT | O_RDWR, 0o644)
    events("create")
    sys.write(f, b"hello")
    sys.write(f, b"again")
    events("write")
    sys.pread64(f, 3, 0)
    events("read")
    sys.close(f)
    events("close")
    sys.chmod("a", 0o600)
    events("chmod")
    sys.mkdir("d")
    events("mkdir")
    sys.rename("a", "b")
    events("rename")
    sys.rename("b", "d/b")
    events("move out")
    print("second:", sys.inotify_add_watch(fd, "d/b", IN_ALL_EVENTS))
    sys.link("d/b", "c")
    events("link")
    sys.unlink("c")
    events("unlink")
    sys.unlink("d/b")
    events("last name")
    sys.rmdir("d")
    events("rmdir")
    print("change:", sys.inotify_add_watch(fd, here, IN_CREATE), sys.inotify_add_watch(fd, here, IN_DELETE | IN_MASK_ADD))
    sys.close(sys.open("e", O_CREAT | O_WRONLY, 0o644))
    sys.unlink("e")
    events("only some")
    print("remove:", sys.inotify_rm_watch(fd, 1), err(sys.inotify_rm_watch, fd, 1))
    events("ignored")
    print("bad:", err(sys.inotify_add_watch, fd, "none", IN_CREATE), err(sys.inotify_add_watch, fd, here, 0), err(sys.inotify_add_watch, 0, here, IN_CREATE),
          err(sys.inotify_init1, 1), err(sys.read, fd, 8))
    sys.chdir("/")
    sys.close(fd)
    sys.umount2(here, 0)
    sys.rmdir(here)

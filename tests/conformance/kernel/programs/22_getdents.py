"""getdents while the directory changes: what stays appears once, and cookies are stable."""

from userland.abi import *


def main(sys, argv):
    here = "/tmp/trl-dents-%d" % sys.getpid()
    sys.mkdir(here)
    sys.mount("none", here, "tmpfs", 0, "")
    sys.chdir(here)
    names = ["file-with-a-rather-long-name-%04d" % n for n in range(1500)]
    for name in names:
        sys.close(sys.open(name, O_CREAT | O_WRONLY, 0o644))
    fd = sys.open(".", O_RDONLY | O_DIRECTORY)
    seen = []
    turn = 0
    positions = []
    while True:
        entries = sys.getdents64(fd)
        if not entries:
            break
        seen += [n for n, _, _ in entries]
        positions.append((sys.lseek(fd, 0, SEEK_CUR), entries[-1][0]))
        # remove some that were seen and some that were not, and make new ones
        for n in range(turn * 40, turn * 40 + 20):
            sys.unlink(names[n])
            sys.unlink(names[-1 - n])
        for n in range(20):
            sys.close(sys.open("new-%d-%d" % (turn, n), O_CREAT | O_WRONLY, 0o644))
        turn += 1
    removed = {names[n] for t in range(turn) for n in range(t * 40, t * 40 + 20)}
    removed |= {names[-1 - n] for t in range(turn) for n in range(t * 40, t * 40 + 20)}
    stayed = [n for n in names if n not in removed]
    print("several turns:", turn > 1)
    print("each that stayed, once:", all(seen.count(n) == 1 for n in stayed))
    print("none twice:", len(seen) == len(set(seen)))
    print("dots:", seen.count("."), seen.count(".."))
    # going back to a position gives what followed it
    sys.lseek(fd, 0, SEEK_SET)
    first = sys.getdents64(fd)
    at = sys.lseek(fd, 0, SEEK_CUR)
    second = sys.getdents64(fd)
    sys.lseek(fd, at, SEEK_SET)
    print("stable:", sys.getdents64(fd) == second, first != second)
    sys.lseek(fd, 0, SEEK_SET)
    print("types:", sorted({kind for _, _, kind in sys.getdents64(fd)}))
    # removing everything while reading
    sys.lseek(fd, 0, SEEK_SET)
    count = 0
    while True:
        entries = [e for e in sys.getdents64(fd)]
        if not entries:
            break
        for name, _, kind in entries:
            if kind == 8:
                sys.unlink(name)
                count += 1
    sys.lseek(fd, 0, SEEK_SET)
    left = sorted(n for n, _, _ in sys.getdents64(fd))
    print("all removed:", left)
    sys.mkdir("d")
    sys.symlink("x", "l")
    sys.mkfifo("p")
    s = sys.socket(AF_UNIX, SOCK_STREAM)
    sys.bind(s, "s")
    sys.lseek(fd, 0, SEEK_SET)
    entries = sys.getdents64(fd)
    print(sorted((n, kind) for n, _, kind in entries))
    print("inode numbers:", all(sys.lstat(n).st_ino == ino for n, ino, _ in entries if n != ".."))
    try:
        sys.getdents64(0)
    except OSError as error:
        print(errno_name(error.errno))
    sys.chdir("/")
    sys.close(fd)
    sys.close(s)
    sys.umount2(here, 0)
    sys.rmdir(here)

"""The pages of a file: an address space, shared by read, write, truncate and (through `page`) memory mappings.

Pages are buffers of 4096 bytes by index. A page that is not there is a hole when the backing says so, and reads as
zeros without being made. The backing (`PageSource`) fills pages from a disk and is told of pages dirtied; tmpfs has
no backing and only counts pages.

Invariant: in the page that holds the end of the file, the bytes beyond the end are zero.
"""

from __future__ import annotations

from typing import Protocol

from kernel.abi import PAGE_SIZE

ZEROS = bytes(PAGE_SIZE)
_SHIFT = 12
_MASK = PAGE_SIZE - 1

Page = bytearray | memoryview


class PageSource(Protocol):
    """Where pages come from and what is done about changed ones."""

    def fill(self, index: int) -> Page | None:
        """The page as stored, or None for a hole. May sleep."""
        ...

    def allocate(self, index: int) -> None:
        """A hole is about to become a page: ENOSPC is raised here."""
        ...

    def free(self, count: int) -> None:
        """So many pages that had been allocated are gone (truncate, punch, evict)."""
        ...

    def dirtied(self, index: int) -> None: ...

    def next_data(self, index: int) -> int | None:
        """The first stored page at or after `index` that is not cached (SEEK_DATA); None when there is none."""
        ...


class AddressSpace:
    """See the module's docstring. `size` is not kept here: the inode has it."""

    __slots__ = ("pages", "source", "unwritten")

    def __init__(self, source: PageSource) -> None:
        self.pages: dict[int, Page] = {}
        self.source = source
        self.unwritten: set[int] = set()
        """Pages that fallocate has reserved and nobody has written to: they take space, and are holes to lseek."""

    def page(self, index: int) -> Page | None:
        """The page for reading, or None for a hole."""
        page = self.pages.get(index)
        if page is None:
            page = self.source.fill(index)
            if page is not None:
                self.pages[index] = page
        return page

    def page_for_write(self, index: int) -> Page:
        """The page for changing; a hole is allocated."""
        page = self.page(index)
        if page is None:
            self.source.allocate(index)
            page = self.pages[index] = bytearray(PAGE_SIZE)
        if self.unwritten:
            self.unwritten.discard(index)
        self.source.dirtied(index)
        return page

    def reserve(self, first: int, last: int) -> None:
        """Takes the space for the pages [first, last); all of it or, where that fails, none."""
        taken: list[int] = []
        try:
            for index in range(first, last):
                if self.page(index) is None:
                    self.page_for_write(index)
                    taken.append(index)
        except OSError:
            for index in taken:
                del self.pages[index]
            self.source.free(len(taken))
            raise
        self.unwritten.update(taken)

    def read(self, pos: int, count: int) -> bytes:
        """`count` bytes at `pos`; the caller has cut the range to the file's size."""
        index, start = pos >> _SHIFT, pos & _MASK
        if start + count <= PAGE_SIZE:
            page = self.pages.get(index)
            if page is None:
                page = self.page(index)
                if page is None:
                    return bytes(count)
            return bytes(page) if count == PAGE_SIZE else bytes(page[start : start + count])
        parts: list[Page | bytes] = []
        end = pos + count
        while pos < end:
            index, start = pos >> _SHIFT, pos & _MASK
            stop = min(PAGE_SIZE, start + end - pos)
            page = self.page(index)
            whole = stop - start == PAGE_SIZE
            if page is None:
                parts.append(ZEROS if whole else bytes(stop - start))
            else:
                parts.append(page if whole else memoryview(page)[start:stop])
            pos += stop - start
        return b"".join(parts)

    def write(self, pos: int, data: bytes | memoryview) -> int:
        """Stores `data` at `pos`. Bytes stored: fewer than given when space ran out after the first page."""
        count = len(data)
        pages = self.pages
        start = pos & _MASK
        if start + count <= PAGE_SIZE:
            found = pages.get(pos >> _SHIFT)
            if found is not None:
                if self.unwritten:
                    self.unwritten.discard(pos >> _SHIFT)
                found[start : start + count] = data
                self.source.dirtied(pos >> _SHIFT)
                return count
        view = memoryview(data)
        done = 0
        while done < count:
            index, start = pos >> _SHIFT, pos & _MASK
            stop = min(PAGE_SIZE, start + count - done)
            try:
                if stop - start == PAGE_SIZE and index not in pages and self.page(index) is None:
                    self.source.allocate(index)
                    pages[index] = bytearray(view[done : done + PAGE_SIZE])
                    self.source.dirtied(index)
                else:
                    self.page_for_write(index)[start:stop] = view[done : done + stop - start]
            except OSError:
                if done:
                    return done
                raise
            done += stop - start
            pos += stop - start
        return done

    def truncate(self, size: int) -> None:
        """Forgets every page past `size` and zeroes the tail of the one that holds it."""
        keep = (size + _MASK) >> _SHIFT
        self._drop(keep, None)
        tail = size & _MASK
        if tail:
            page = self.page(size >> _SHIFT)
            if page is not None:
                page[tail:] = ZEROS[tail:]
                self.source.dirtied(size >> _SHIFT)

    def punch(self, pos: int, end: int) -> None:
        """Makes [pos, end) read as zeros; whole pages become holes."""
        first, last = (pos + _MASK) >> _SHIFT, end >> _SHIFT
        for index, start, stop in (
            (pos >> _SHIFT, pos & _MASK, min(PAGE_SIZE, (pos & _MASK) + end - pos)),
            (last, 0 if last > pos >> _SHIFT else PAGE_SIZE, end & _MASK),
        ):
            if start < stop and (start or stop < PAGE_SIZE):
                page = self.page(index)
                if page is not None:
                    page[start:stop] = ZEROS[start:stop]
                    self.source.dirtied(index)
        if first < last:
            self._drop(first, last)

    def _drop(self, first: int, last: int | None) -> None:
        pages = self.pages
        span = None if last is None else last - first
        if span is not None and span < len(pages):
            gone = [index for index in range(first, first + span) if index in pages]
        else:
            gone = [index for index in pages if index >= first and (last is None or index < last)]
        for index in gone:
            del pages[index]
        if self.unwritten:
            self.unwritten.difference_update(gone)
        if gone:
            self.source.free(len(gone))

    def next_data(self, index: int) -> int | None:
        """The first page at or after `index` that is not a hole."""
        if index in self.pages and index not in self.unwritten:
            return index
        cached = min((i for i in self.pages if i >= index and i not in self.unwritten), default=None)
        stored = self.source.next_data(index)
        if cached is None or stored is None:
            return stored if cached is None else cached
        return min(cached, stored)

    def next_hole(self, index: int) -> int:
        """The first page at or after `index` that is a hole."""
        while (index in self.pages and index not in self.unwritten) or self.source.next_data(index) == index:
            index += 1
        return index

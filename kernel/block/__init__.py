"""The block layer: what lies between a file of the kernel and a disk.

`device` ties the parts of one disk together; `file` is /dev/vda as programs see it; `cache` keeps buffers of its
contents; `queue` takes requests, merges neighbours, hands them to the drive and wakes who waits; `elevator` says in
which order; `request` is what is passed around; `stat` is /proc/diskstats.
"""

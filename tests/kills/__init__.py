"""Kill every command that writes, at every call that changes the disk, and repeat it.

    python -m tests.kills                       the whole sweep, with a table
    python -m tests.kills --command export --at 17

A command runs in a forked process that dies, as by kill -9, at its n-th open for writing, write, flush to the disk,
rename, removal, link or new folder; a write dies after half of its bytes. The same command is then run again, and must
leave what it leaves when nothing happens.
"""

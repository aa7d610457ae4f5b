# SPDX-License-Identifier: MIT
"""Floors: an arrow may only point down, and each foreign library has one door."""
import re

from tree import c_files, report

# folder -> (folders whose headers it may include besides its own, headers it must not include all the same,
#            foreign libraries behind its door)
FLOORS = {
    "base": (set(), set(), ("event2/", "curl/", "openssl/")),
    "wire": ({"base"}, {"clock.h", "thread.h", "mailbox.h", "reactor.h"}, ("jansson.h", "ini.h", "openssl/")),
    "bus": ({"base", "wire"}, set(), ("hiredis/",)),
    "hub": ({"base", "wire", "bus"}, set(), ()),
    "edge": ({"base", "wire", "hub", "web"}, {"bus.h"}, ("libwebsockets.h",)),
    "web": ({"base"}, set(), ()),
    "tools": ({"base", "wire"}, set(), ("libwebsockets.h",)),
    "": ({"base", "wire", "bus", "hub", "edge", "web"}, set(), ()),  # node/*.c, which wires everything
}

# Headers without a source of the same name, and where they belong.
WITHOUT_SOURCE = {"bus_stats.h": "bus", "list.h": "base", "ref.h": "base", "config_table.h": "wire", "web.h": "web"}
# Of the bus the hub knows the contracts only.
HUB_MAY_USE_OF_BUS = {"bus.h", "roster.h"}

SYSTEM = set("""arpa/inet.h assert.h ctype.h dirent.h dlfcn.h errno.h fcntl.h inttypes.h limits.h malloc.h math.h netdb.h
    netinet/in.h netinet/tcp.h poll.h pthread.h sched.h semaphore.h signal.h stdalign.h stdarg.h stdatomic.h stdbool.h
    stddef.h stdint.h stdio.h stdlib.h string.h strings.h sys/epoll.h sys/eventfd.h sys/ioctl.h sys/mman.h sys/prctl.h
    sys/random.h sys/resource.h sys/socket.h sys/stat.h sys/time.h sys/types.h sys/uio.h sys/un.h sys/wait.h time.h
    unistd.h""".split())
INPUT_OUTPUT = {"arpa/inet.h", "dirent.h", "fcntl.h", "netdb.h", "netinet/in.h", "netinet/tcp.h", "poll.h", "sys/epoll.h",
                "sys/eventfd.h", "sys/ioctl.h", "sys/socket.h", "sys/stat.h", "sys/un.h", "unistd.h"}

_INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)


def folder_of(root, path):
    """The floor of a source under node/, "" for node/ itself."""
    parts = path.relative_to(root / "node").parts
    return parts[0] if len(parts) > 1 else ""


def header_floor(root, name):
    """The floor whose contract include/chatnode/<name> is, or None."""
    if name in WITHOUT_SOURCE:
        return WITHOUT_SOURCE[name]
    for path in sorted((root / "node").rglob(name[:-2] + ".c")):
        return folder_of(root, path)
    return None


def check(root):
    problems = []
    for path in c_files(root):
        own = path.relative_to(root)
        if own.parts[0] == "include":
            floor = header_floor(root, path.name)
            if floor is None:
                problems.append(f"{own}: belongs to no floor: there is no node/*/{path.stem}.c")
                continue
        else:
            floor = folder_of(root, path)
            if floor not in FLOORS:
                problems.append(f"{own}: {floor} is no floor")
                continue
        includes = _INCLUDE.findall(path.read_text())
        for kind, name in includes:
            problems += [f"{own}: {text}" for text in judge(root, path, floor, kind, name)]
        problems += own_header_first(root, path, includes)
    return problems


def judge(root, path, floor, kind, name):
    """What is wrong with one include of a file on this floor."""
    allowed, forbidden, doors = FLOORS[floor]
    if kind == "<":
        return judge_foreign(floor, name, doors)
    if not name.startswith("chatnode/"):
        if "/" in name or not (path.parent / name).exists():
            return [f"{name} is not in its own folder"]
        return []
    header = name.split("/", 1)[1]
    target = header_floor(root, header)
    if target is None:
        return [f"{name} belongs to no floor"]
    if header in forbidden:
        return [f"{name} is not for {floor}"]
    if floor == "hub" and target == "bus" and header not in HUB_MAY_USE_OF_BUS:
        return [f"{name} is an implementation's; the hub knows bus.h and roster.h only"]
    if target != floor and target not in allowed:
        return [f"{name} is of {target}, which {floor or 'node'} must not know"]
    return []


def judge_foreign(floor, name, doors):
    """What is wrong with including a header of the system or of a library."""
    if name in SYSTEM:
        return [f"<{name}> is input and output"] if floor == "hub" and name in INPUT_OUTPUT else []
    if any(name == door or door.endswith("/") and name.startswith(door) for door in doors):
        return []
    return [f"<{name}> is not behind the door of {floor or 'node'}"]


def own_header_first(root, path, includes):
    """A source includes its own header before anything else, so that the header stands on its own. Its folder's private
    header may stand in for it."""
    own = f"chatnode/{path.stem}.h"
    first = includes[0][1] if includes else ""
    if path.suffix == ".c" and (root / "include" / own).exists() and first != own and not first.endswith("_private.h"):
        return [f"{path.relative_to(root)}: {own} must be its first include"]
    return []


if __name__ == "__main__":
    report(check)

"""Run by the system's Python, which has bcc: compiles C that is given as JSON on the standard input, and writes the
instructions of its functions as JSON to the standard output. Imports nothing of this package.

bcc wants the headers of a kernel. The programs need none of them: a folder with what bcc itself includes will do.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

HEADERS = {
    "linux/kconfig.h": "#define CONFIG_BPF_SYSCALL 1\n",
    "linux/log2.h": "",
    "linux/version.h": "#include_next <linux/version.h>\n",
    "uapi/linux/bpf.h": "",  # it has one of its own
    "uapi/linux/if_packet.h": "",
    "asm/page.h": "#include <linux/types.h>\n"
    + "".join(f"typedef __{kind}{bits} {kind}{bits};\n" for kind in "us" for bits in (8, 16, 32, 64))
    + "typedef __SIZE_TYPE__ size_t;\ntypedef __UINTPTR_TYPE__ uintptr_t;\n",
}


def main() -> int:
    """The status is 1 if it does not compile; bcc says why on the standard error."""
    order = json.load(sys.stdin)
    with tempfile.TemporaryDirectory(prefix="m4-bcc-") as folder:
        for name, text in HEADERS.items():
            path = Path(folder, "include", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        os.environ["BCC_KERNEL_SOURCE"] = folder
        os.environ["BCC_LINUX_VERSION_CODE"] = str(6 << 16 | 1 << 8)  # it only matters for tracing
        said = sys.stdout.fileno()
        kept = os.dup(said)
        os.dup2(sys.stderr.fileno(), said)  # what bcc prints is no answer of ours
        from bcc import BPF  # type: ignore[import-not-found]

        try:
            made = BPF(text=order["text"], cflags=order["flags"])
            found = {name: made.dump_func(name).hex() for name in order["functions"]}
        except Exception as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    with os.fdopen(kept, "w") as out:
        json.dump(found, out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

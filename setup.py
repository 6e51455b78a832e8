"""Build table: an extension per .pyx, a row per build flavour (SEKISHO_FLAVOUR: release)."""

import os
import re
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

WARN = ["-Wall", "-Wno-unused-function", "-Wno-unused-variable", "-Wno-maybe-uninitialized"]
FLAVOURS = {  # name: (compiler arguments, linker arguments, Cython directives, C macros)
    "release": (["-O2", "-g1", *WARN], [], {}, []),
    "debug": (
        ["-O0", "-g", *WARN],
        [],
        {"boundscheck": True},
        [("CYTHON_REFNANNY", "1"), ("SEKISHO_DEBUG", "1")],
    ),
    "trace": (
        ["-O0", "-g", *WARN],
        [],
        {"linetrace": True},
        [("CYTHON_TRACE_NOGIL", "1"), ("CYTHON_USE_SYS_MONITORING", "0")],
    ),
    "asan": (
        ["-O1", "-g", "-fsanitize=address,undefined", "-fno-omit-frame-pointer", *WARN],
        ["-fsanitize=address,undefined"],
        {},
        [],
    ),
}
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "binding": False,
    "embedsignature": True,
    "freethreading_compatible": False,
}
LIBRARIES = {
    "pem": ["ssl", "crypto"],
    "contexts": ["ssl", "crypto"],
    "tls": ["ssl", "crypto"],
    "jwt": ["crypto"],
    "servicetoken": ["crypto"],
    "token": ["crypto"],
}

flavour = os.environ.get("SEKISHO_FLAVOUR", "release")
compile_args, link_args, directives, macros = FLAVOURS[flavour]
extensions = [
    Extension(
        f"_fastpath.{source.stem}",
        [str(source)],
        libraries=LIBRARIES.get(source.stem, []),
        extra_compile_args=compile_args,
        extra_link_args=link_args,
        define_macros=macros,
    )
    for source in sorted(Path("_fastpath").glob("*.pyx"))
]
modules = (
    cythonize(
        extensions,
        build_dir=f"build/{flavour}",
        nthreads=os.cpu_count() or 1,
        compiler_directives=DIRECTIVES | directives,
    )
    if extensions
    else []
)
if flavour == "trace":
    # A traced return shows its value to Python, which reads a borrowed pointer as a string that
    # ends in NUL. Only the line counts here: show None.
    for c in (Path(module.sources[0]) for module in modules):
        text = c.read_text(encoding="utf-8")
        shown = re.sub(
            r"^(\s*)__Pyx_TraceReturnCValue\(__pyx_r, \w+, ",
            r"\1__Pyx_TraceReturnValue(Py_None, ",
            text,
            flags=re.M,
        )
        if shown != text:
            c.write_text(shown, encoding="utf-8")
# pip, too, uses every core
setup(ext_modules=modules, options={"build_ext": {"parallel": os.cpu_count() or 1}})

"""SOURCE OUT FORM: a GGUF in a form of llama.cpp's own quantiser, such as q4_k_m; needs llama-cpp-python alone.

Matrices whose rows are no multiple of 256 get forms with smaller blocks, as that quantiser decides.
"""

from __future__ import annotations

import sys

import llama_cpp as ll


def main() -> None:
    source, out, form = sys.argv[1:]
    params = ll.llama_model_quantize_default_params()
    params.ftype = getattr(ll, f"LLAMA_FTYPE_MOSTLY_{form.upper()}")
    if ll.llama_model_quantize(source.encode(), out.encode(), params) != 0:
        raise SystemExit(f"{form}: llama_model_quantize failed")


if __name__ == "__main__":
    main()

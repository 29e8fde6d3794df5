#!/usr/bin/env bash
# Executes all notebooks headless, and puts them with their outputs into this folder if all cells have run without error.
#
#   examples/notebooks/run.sh            # builds the kernel, runs the notebooks
#   examples/notebooks/run.sh install    # builds the kernel and installs it, for Jupyter of your own: see README.md
#
# Needs Go and jupyter-nbconvert (Debian: apt-get install jupyter-nbconvert). The kernel is GoNB at the version in kernel/go.mod.
set -euo pipefail
cd "$(dirname "$0")/../.."

# The notebooks import this checkout and the kernel's own module, by a go.work that the kernel makes in its temporary folder.
# go.work and -mod exclude each other.
modules="$PWD,$PWD/examples/notebooks/kernel"
export GOFLAGS=
unset GOWORK

if [ "${1:-}" = install ]; then
  go -C examples/notebooks/kernel install github.com/janpfeifer/gonb golang.org/x/tools/cmd/goimports
  bin=$(go env GOBIN)
  PATH="${bin:-$(go env GOPATH)/bin}:$PATH" gonb -install -force_deps -go_work="$modules"
  exit
fi
command -v jupyter-nbconvert > /dev/null || {
  echo "run.sh: no jupyter-nbconvert: on Debian, apt-get install jupyter-nbconvert" >&2
  exit 1
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin" "$work/tmp" "$work/done"
go -C examples/notebooks/kernel build -o "$work/bin/" github.com/janpfeifer/gonb golang.org/x/tools/cmd/goimports
go build -o "$work/bin/build" ./examples/notebooks/build
"$work/bin/build" -out "$work/notebooks"

export PATH="$work/bin:$PATH" TMPDIR="$work/tmp" JUPYTER_DATA_DIR="$work/jupyter" JUPYTER_RUNTIME_DIR="$work/runtime" IPYTHONDIR="$work/ipython"
gonb -install -force_deps -raw_error -go_work="$modules" > "$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
failed=
for notebook in "$work"/notebooks/*.ipynb; do
  name=$(basename "$notebook")
  echo "$name"
  start=$SECONDS
  if ! jupyter-nbconvert --to notebook --execute --ExecutePreprocessor.timeout=600 --output-dir "$work/done" "$notebook" > "$work/log" 2>&1; then
    grep -v '^[IWE][0-9]\{4\} ' "$work/log" >&2
    failed="$failed $name"
  fi
  echo "  $((SECONDS - start)) s"
done
if [ -n "$failed" ]; then
  echo "run.sh: failed:$failed; the notebooks here are as they were" >&2
  exit 1
fi
"$work/bin/build" -collect "$work/done"

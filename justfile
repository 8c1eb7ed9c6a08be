# Recipes for everyday work. `just` without a recipe lists them.

set positional-arguments
set shell := ['bash', '-euo', 'pipefail', '-c']

[private]
default:
    @{{ just_executable() }} --list

# Check formatting, lints, documentation and, if cargo-deny is installed, the dependencies.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked
    if command -v cargo-deny >/dev/null; then cargo deny --locked check; else echo 'cargo-deny is not installed: dependencies are not checked'; fi

# Run the tests of one crate, for example `just test wire`; more arguments go to cargo.
test CRATE *ARGS:
    cargo test --locked -p "streamgauge-$1" "${@:2}"

# Profile the simulated server, with any flags of `profile`.
sim *ARGS:
    cargo run --release --locked -- profile --sim "$@"

# Run the checks against tokenizers of real models and real llama.cpp and Triton servers, which are installed on first use.
real:
    cargo build --release --locked
    cargo build --release --locked -p streamgauge-prompt --example tokens
    tests/tokenizers/run target/release/examples/tokens
    tests/llamacpp/run target/release/streamgauge
    tests/triton/run target/release/streamgauge

# Run a case of the benchmark, for example `just bench accuracy`.
bench CASE *ARGS:
    cargo build --release --locked --workspace
    target/release/streamgauge-bench "$@"

# Run everything that must pass before a change lands.
ci:
    .ci/run

#!/usr/bin/env bash
# Everything that waits for a GPU, in one command of at most 13 minutes: bash scripts/on_gpu.sh
#
# In turn: the GPU tests; `bench step` at real size, which judges compiled blocks and the CUDA graph
# against plain updates; `bench generate` at real size; a training run of fifty updates on random
# weights of LCM Dreamshaper's shapes; and the recipe of the embedded model for the time that is
# left. Each part has a time limit; a part that fails does not stop the others. Logs, tables and the
# run are written to $OUT as they are made, and one line per part to $OUT/summary.txt. The exit code
# is 1 if a part failed or ran out of time; the recipe may, since the same command continues it.
#
# Environment:
#   OUT       folder of the results (./gpu-results)
#   SIZE      real, or small to rehearse
#   DEVICE    cuda, or cpu to rehearse
#   TOTAL_S   seconds in all (780); each part's limit is a share of it
#   NPM       node_modules with the emoji packages of the recipe (./node_modules)
#   DRAWINGS  or the recipe's drawings, made elsewhere (./artifacts/tiny/emoji64.npz)
#   VARIANTS  what `bench step` compares with plain and flat ("regional graph")
#   PYTHON    interpreter (.venv/bin/python, or python)
set -uo pipefail

mkdir -p "${OUT:=gpu-results}" && OUT=$(cd "$OUT" && pwd)
cd "$(dirname "$0")/.." || exit 1
[ -x .venv/bin/python ] && own=.venv/bin/python
PYTHON=${PYTHON:-${own:-python}} SIZE=${SIZE:-real} DEVICE=${DEVICE:-cuda} TOTAL_S=${TOTAL_S:-780}
NPM=${NPM:-node_modules} DRAWINGS=${DRAWINGS:-artifacts/tiny/emoji64.npz}
VARIANTS=${VARIANTS:-regional graph}
RESERVE_S=15                         # for the judgment and for processes that take long to end
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false PYTHONUNBUFFERED=1
[ "$DEVICE" = cpu ] && export CUDA_VISIBLE_DEVICES=

work=$(mktemp -d)                    # the random model, which is too large to bring back
trap 'rm -rf "$work"' EXIT
echo '*' >"$OUT/.gitignore"
: >"$OUT/summary.txt"
rm -rf "$OUT/run" "$OUT"/step-*.json # of an earlier call
failed=0

# What is said is printed and kept.
say() { printf '%s\n' "$*" | tee -a "$OUT/summary.txt"; }

part() { # part NAME PERCENT COMMAND...: run it for at most that share of the time, and go on
    local name=$1 limit=$((TOTAL_S * $2 / 100)) left=$((TOTAL_S - SECONDS - RESERVE_S))
    local began=$SECONDS status=passed code
    shift 2
    # A rehearsal shows that the parts run, on a machine that may be busy with other work.
    if ((limit > left)) || [ "$SIZE" = small ]; then limit=$left; fi
    if ((limit < 1)); then
        say "$(printf '%-9s %5s    %s' skipped - "$name: no time is left")"
        return
    fi
    timeout --kill-after=10 "$limit" "$@" </dev/null >"$OUT/$name.log" 2>&1
    code=$?
    ((code == 124 || code == 137)) && status=timed-out
    ((code)) && [ $status = passed ] && status=FAILED
    [ $status = passed ] || [ "$name $status" = "recipe timed-out" ] || failed=1
    say "$(printf '%-9s %5d s  %s' $status $((SECONDS - began)) "$name: $(last_line "$OUT/$name.log")")"
}

last_line() { # last_line FILE: without the carriage returns of progress bars, at most 160 characters
    tr '\r' '\n' <"$1" | grep -v '^[[:space:]]*$' | tail -n 1 | tr -s ' ' | cut -c 1-160
}

# Files, not the folder: collecting all tests takes longer than running these.
mapfile -t gpu_tests < <(grep -rlE 'mark\.gpu' tests --include='test_*.py')
pytest_options=(-n 0 -m gpu --durations=5)   # one process for the one card
precision=bf16 rounds=5 updates=50 settings=(--num-inference-steps 8 --guidance-scale 7.5 --batch-size 1)
stage=all recipe=(--recipe full --device cuda --bf16)
if [ "$DEVICE" = cpu ]; then
    pytest_options=(-n 0 -m gpu --collect-only -q)
    precision=fp32
    recipe=(--recipe full --device cpu)
fi
if [ "$SIZE" = small ]; then
    rounds=2 updates=4 settings=(--num-inference-steps 2 --batch-size 1)
    recipe=(--recipe cpu --device "$DEVICE")
    stage=data                       # tests/scripts/test_tiny_chain.py runs all stages
fi

say "$SIZE size on $DEVICE, at most $TOTAL_S s, $(git rev-parse --short HEAD 2>/dev/null)"
part gpu-tests 20 "$PYTHON" -m pytest "${pytest_options[@]}" "${gpu_tests[@]}"
# A candidate that breaks takes its table with it: each has its own.
for variant in $VARIANTS; do
    share=14
    [ "$variant" = regional ] && share=22  # it compiles
    part "step-$variant" $share "$PYTHON" -m rocm bench step --size "$SIZE" --batch 1 --ref-grad exact \
        --rounds "$rounds" --variants plain flat "$variant" --json "$OUT/step-$variant.json"
done
part generate 8 "$PYTHON" -m rocm bench generate --size "$SIZE" --rounds "$rounds" --batch 1 4 \
    --json "$OUT/generate.json"
part random-model 8 "$PYTHON" -m scripts.random_model "$work/model" --size "$SIZE" \
    --precision "$precision"
part fifty-updates 16 "$PYTHON" -m rocm train tiny-rocm-kl --run-dir "$OUT/run" \
    --model "$work/model" --device "$DEVICE" --precision "$precision" "${settings[@]}" \
    --num-steps "$updates" --eval-every "$updates" --checkpoint-every "$updates" \
    --num-eval-prompts 4 --num-samples 4 --learning-rate 6e-5 --track saturation --judge ''
drawings="$OUT/tiny/stages/emoji64.npz"
if [ -f "$DRAWINGS" ] && [ ! -f "$drawings" ]; then
    mkdir -p "$OUT/tiny/stages" && cp "$DRAWINGS" "$drawings"
fi
# --seconds holds for each stage; a stage that the limit cuts off loses at most 90 s of updates.
if [ -d "$NPM" ] || [ -f "$drawings" ]; then
    part recipe 100 "$PYTHON" -m scripts.tiny "$stage" "${recipe[@]}" --npm "$NPM" \
        --work "$OUT/tiny/stages" --assets "$OUT/tiny/assets" \
        --seconds $((TOTAL_S > SECONDS + RESERVE_S ? TOTAL_S - SECONDS - RESERVE_S : 0))
else
    say "$(printf '%-9s %5s    %s' skipped - "recipe: neither $NPM nor $DRAWINGS is here")"
fi
"$PYTHON" -m scripts.judge_speed "$OUT"/step-*.json 2>&1 | tee -a "$OUT/summary.txt"
exit $failed

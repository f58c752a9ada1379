#!/usr/bin/env bash
# One of several machines that train a run together; start it on each, with another RANK:
#
#     scripts/machine.sh RANK NUM HEAD train PRESET --run-dir DIR ...
#
# RANK is 0 on the machine HEAD, which all must reach at PORT, up to NUM - 1. PROCESSES of each
# machine, as many as it has GPUs, take part. Only rank 0 writes DIR.
set -euo pipefail
rank=$1 num=$2 head=$3
shift 3
exec "${PYTHON:-python}" -m accelerate.commands.launch --multi_gpu \
    --num_machines "$num" --num_processes "$((num * ${PROCESSES:-1}))" --machine_rank "$rank" \
    --main_process_ip "$head" --main_process_port "${PORT:-29500}" \
    --mixed_precision no --dynamo_backend no -m rocm "$@"

#!/usr/bin/env bash
# Measures what a folder of these reports holds: bash reports/measure.sh FOLDER [NAME]...
# Names are those of the cases below, by default all. Where sbench is not installed: SBENCH="python3 -m bench.cli".
set -euo pipefail
folder=${1:?give a folder for the results}
shift
sbench=${SBENCH:-sbench}
from_5_s=5,10,25,50,75,100,150,200,250,300,350,400
all="bfloat16-cold bfloat16 graph graph-again native released"
all+=" matched-float32 matched-tf32 matched-bfloat16 kernels kernels.json training"

sweep() { $sbench sweep "${@:2}" --output "$folder/$1"; }

mkdir -p "$folder"
for name in ${*:-$all}; do
    case $name in
        bfloat16-cold | bfloat16) sweep $name --max-seconds 400 ;; # cold on a fresh machine, whose caches are empty
        graph | graph-again) sweep $name --max-seconds 400 --execution graph ;;
        native) sweep $name --max-seconds 400 --precision native ;;
        released) sweep $name --max-seconds 400 --preset released ;;
        matched-*) sweep $name --lengths $from_5_s --precision ${name#matched-} --pass inference,training ;;
        kernels) sweep $name sa/sdpa fox/flex fox/triton lightnet/fla lightnet/triton --lengths 10,100,400 \
            --preset layer --precision bfloat16,tf32 --pass inference,training ;;
        kernels.json) pytest --benchmark -m gpu --benchmark-json "$folder/kernels.json" ;;
        training) $sbench throughput --output "$folder/training/throughput.json" ;;
        *) echo "no such name: $name; there are $all" >&2; exit 2 ;;
    esac
done

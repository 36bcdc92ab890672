#!/usr/bin/env bash
# Measures what a folder of these reports holds: bash reports/measure.sh FOLDER [NAME]...
# Names are those of the cases below, by default all. Where sbench is not installed: SBENCH="python3 -m bench.cli".
set -euo pipefail
folder=${1:?give a folder for the results}
shift
sbench=${SBENCH:-sbench}
from_5_s=5,10,25,50,75,100,150,200,250,300,350,400
all="bfloat16-cold bfloat16 repeats.jsonl graph released"
all+=" direction-causal direction-alternating direction-both direction-paper directions"
all+=" matched-float32 matched-tf32 kernels kernels.json training end-to-end all"

sweep() { $sbench sweep "${@:2}" --output "$folder/$1"; }

mkdir -p "$folder"
for name in ${*:-$all}; do
    case $name in
        # cold on a fresh machine, whose caches are empty
        bfloat16-cold | bfloat16) sweep $name --max-seconds 400 --processes 5 ;;
        repeats.jsonl) python3 "$(dirname "$0")/repeats.py" "$folder/$name" "$(hostname)" "$folder"/bfloat16{-cold,} ;;
        graph) sweep $name --max-seconds 400 --direction paper --execution graph ;;
        released) sweep $name --max-seconds 400 --preset released ;;
        direction-paper) sweep $name --max-seconds 400 --direction paper ;;
        direction-*) sweep $name --max-seconds 400 --direction ${name#direction-} --pass inference,training ;;
        directions) $sbench report "$folder"/direction-* --output "$folder/directions" ;;
        matched-*) sweep $name --direction paper --lengths $from_5_s --precision ${name#matched-} --pass inference,training ;;
        kernels) sweep $name sa/sdpa fox/flex fox/triton lightnet/fla lightnet/triton --lengths 10,100,400 \
            --preset layer --precision bfloat16,tf32 --pass inference,training ;;
        kernels.json) pytest --benchmark -m gpu --benchmark-json "$folder/kernels.json" ;;
        training) $sbench throughput --steps 20 --utterances 1600 --output "$folder/training/throughput.json" ;;
        all) bash "$(dirname "$0")/all.sh" "$folder" ;;
        end-to-end) bash "$(dirname "$0")/endtoend.sh" "$folder/$name" ;;
        *) echo "no such name: $name; there are $all" >&2; exit 2 ;;
    esac
done

#!/usr/bin/env bash
# Measures reports/GPU/lengths, the accuracy on long recordings: bash reports/lengths.sh RAVDESS WHISPER FOLDER [PART]...
#   RAVDESS   the folder of the corpus, with Actor_01/ to Actor_24/
#   WHISPER   openai/whisper-base, or a folder of its encoder
#   PART      compose-KIND, train-KIND-SECONDS-DIRECTION-FOLD, probe-KIND-SECONDS, costs or table-KIND-SECONDS; by
#             default all, one after the other. KIND: salient, change, sustained. SECONDS, learned: 5.5, 30, 120
# Parts can run on several GPUs at once: give each its CUDA_VISIBLE_DEVICES. Where sbench is not installed:
# SBENCH="python3 -m bench.cli".
set -euo pipefail
corpus=${1:?give the folder of RAVDESS} speech=${2:?give the encoder} folder=${3:?give a folder for the results}
shift 3
sbench=${SBENCH:-sbench}
kinds="salient change sustained" learned="5.5 30 120" tests=10,30,60,120,240
mixers="sa/sdpa retnet/fla lightnet/triton gsa/fla fox/triton kda/fla"
composed=$folder/composed # audio: not a result
every=
for kind in $kinds; do
    every+=" compose-$kind"
    for seconds in $learned; do
        for direction in causal alternating; do for fold in 1 2; do every+=" train-$kind-$seconds-$direction-$fold"; done; done
        every+=" probe-$kind-$seconds"
    done
done
every+=" costs"
for kind in $kinds; do for seconds in $learned; do every+=" table-$kind-$seconds"; done; done

# About as many steps at each length: 560 of 5.5 s, 450 of 30 s, 420 of 120 s. Of 30 s and 120 s, 14 h of speech can be
# composed at most: all 900 recordings of 30 s and 420 of 120 s. Tests and development have 3.5 h: 105 recordings of 120 s,
# 52 of 240 s.
options() { case $1 in 5.5) echo --batch 32 --epochs 20 ;; 30) echo --batch 16 --epochs 8 ;; 120) echo --batch 8 --epochs 8 ;; esac; }

mkdir -p "$folder" "$composed"
for part in ${*:-$every}; do
    IFS=- read -r what kind seconds direction fold <<<"$part"
    case $what in
        compose)
            $sbench compose "ravdess:$corpus" "$composed/$kind" --kind $kind --fold 1,2 --hours 14 --test-hours 3.5 \
                --seconds ${learned// /,} --test-seconds $tests
            ;;
        train)
            $sbench train --corpus "manifest:$composed/$kind/${seconds}s" --fold $fold --direction $direction \
                --speech "$speech" --no-text --layer 4 --crop whole --workers 4 --seeds 3 --schedule one-cycle \
                --learning-rate 1e-3 --classifier-layers 1 $(options $seconds) \
                --evaluate test-10s,test-30s,test-60s,test-120s,test-240s --output "$folder/$kind-$seconds-$direction-$fold"
            ;;
        probe)
            $sbench probe --corpus "manifest:$composed/$kind/${seconds}s" --fold all --speech "$speech" --layer 4 \
                --output "$folder/probe-$kind-$seconds"
            ;;
        costs)
            for direction in causal alternating; do
                $sbench sweep $mixers --width 512 --direction $direction --lengths $tests \
                    --output "$folder/costs-$direction"
            done
            ;;
        table)
            $sbench table "$folder/$kind-$seconds"-{causal,alternating}-? "$folder/probe-$kind-$seconds"/fold-? \
                --output "$folder/table-$kind-$seconds" --costs "$folder/costs-causal" --costs "$folder/costs-alternating"
            ;;
        *) echo "no such part: $part; there are $every" >&2; exit 2 ;;
    esac
done

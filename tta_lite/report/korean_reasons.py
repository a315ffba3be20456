"""The reasons of the guideline in Korean: `tta_lite.guideline.reasons.ENGLISH`, code by code. Data only.

No particle follows a gap whose last sound is not known: names are followed by a noun or a colon.
"""

from __future__ import annotations

SENTENCES: dict[str, str] = {
    "start": "비교 기준이 되는 원본 신경망: {standing}",
    # Taken, or tried and not kept.
    "taken": "설정 '{label}' 적용: {gains}; {metric} {accuracy}, 하한 {floor}; 현재 {standing}",
    "too_lossy": (
        "설정 '{label}' 적용 시 {metric} {accuracy}: 하한 {floor}(기준 {first}, 허용 하락폭 {drop}점)에 미달함"
    ),
    "no_numbers": "설정 '{label}': {fault}",
    "no_gain": (
        "시험한 설정 {count}개 중 '{label}' 설정이 예산에 가장 가까우나, 측정 오차를 넘는 개선이 없음: {gains}"
    ),
    "all_faulty": "설정 {count}개 모두 사용할 수 없음: {fault}",
    # Skipped.
    "met": "{row} 단계에서 이미 예산을 충족함: {standing}",
    "no_training": "학습이 필요한 단계({clause})이나 학습 데이터가 없음",
    "left_out": "요청에 따라 제외함",
    "no_deconv": "스트라이드 2 이상의 Deconv가 신경망에 없음(6.1.2)",
    "no_memory_limit": "가지치기는 메모리 절감만을 위한 단계이며(6.2.3), 파일 크기와 메모리는 제한을 넘지 않음",
    "no_latency_limit": "채널 제거는 속도를 위한 단계이며(6.2.3), 지연 시간은 제한을 넘지 않음",
    "pruning_no_help": (
        "{what} 항목이 제한을 초과하나, 0인 가중치도 다른 가중치와 같은 공간을 차지함: 가지치기로 줄어드는 것은 "
        "압축 파일뿐임(6.2.3)"
    ),
    "int8_is_enough": (
        "가중치를 8비트로 줄이면(G3) 압축 파일이 {expected} KiB(제한 {limit} KiB)로 예상되어 가지치기가 필요하지 "
        "않음(6.2.3)"
    ),
    "no_int8": "{board}의 {runtime} 런타임은 {presets} 파일만 실행함(6.2.1)",
    "g3_was_fine": (
        "G3 적용에 따른 정확도 변화는 {change}점(허용 하락폭 {drop}점)임: 연산 정밀도 축소는 G3에서 정확도 하락이 "
        "지나칠 때만 적용함(6.2.2)"
    ),
    "no_fp16": "{board}의 {cores} 코어는 FP16 연산을 지원하지 않아 반정밀도로 바꾸어도 빨라지지 않음(6.2.2)",
    "no_fp16_kernels": (
        "{runtime} 런타임에 FP16 연산 커널이 없어 {board}에서 반정밀도로 바꾸어도 빨라지지 않음(6.2.2)"
    ),
    # What a step can bring here, known before anything is measured.
    "outlook_g1": "{cut} 층까지가 MACs의 {share} 차지: 경량 백본으로 교체할 수 있음(6.1.1)",
    "outlook_no_cut": "교체할 수 있는 백본을 찾지 못함(6.1.1): {fault}",
    "outlook_g2": (
        "MACs의 5% 이상을 차지하는 합성곱 {count}개가 전체의 {share} 차지. 연산량이 가장 큰 층: {layer}({most}) (6.1.2)"
    ),
    "outlook_subpixel": "Deconv가 MACs의 {share} 차지: 합성곱과 DEPTH_TO_SPACE로 바꾸어도 계산 결과가 같음",
    "outlook_channels": "채널 묶음 {total}개 중 {count}개에서 채널을 제거하여 속도를 높일 수 있음(6.2.3)",
    "outlook_no_channels": "제거할 수 있는 채널이 없음: {fault}",
    "outlook_g5": "압축 파일만 작아지고 속도는 빨라지지 않음(6.2.3)",
    "outlook_no_int8": "이 신경망의 정수 파일은 실행할 수 없음(6.2.1): {fault}",
    "outlook_g3": "보드 코어가 정수 내적 명령을 지원함. {integers}",
    "outlook_g3_no_dot": "보드 코어에 정수 내적 명령이 없어 8비트의 효과가 최신 코어보다 작음. {integers}",
    "outlook_g4": "보드 코어가 FP16 연산을 지원함(6.2.2)",
    "quantisable_whole": "연산 {total}개 모두 정수 연산으로 바뀌고({preset}) 부동소수점과의 경계가 없음(6.2.1)",
    "quantisable_partly": (
        "연산 {total}개 중 {count}개가 부동소수점(FP32)으로 남음: {ops}. 부동소수점과 정수의 경계 {crossings}곳, 추론 "
        "1회에 경계를 지나는 데이터 {kib} KiB, {cost} (6.2.1)"
    ),
    "quantisable_left": "{runtime} 런타임이 지원하지 않거나 느린 커널에 맡기는 연산 {count}개: {ops}, {cost}",
    "quantisable_slower": "전체로는 정수 파일 {integers} ms, 부동소수점(FP32) 파일 {floats} ms로 이득이 없음",
    "quantisable_cost": "비용: 이 컴퓨터에서 측정한 {latency} ms 중 {cost} ms",
    "quantisable_predicted": "비용: 예측한 {latency} ms 중 {cost} ms",
    "quantisable_unknown": "비용: 알 수 없음",
    # Advice, if the budget is not met (6.2).
    "lighten_macs": (
        "구조를 더 경량화: {what} 항목을 {share} 더 줄여야 함. MACs에 비례한다고 보면 {macs}M에서 {target}M으로 줄여야 "
        "함(10억 MACs당 밀리초, 행별: {rows})"
    ),
    "lighten_params": (
        "구조를 더 경량화: {what} 항목을 {share} 줄여야 함. 파라미터 수에 비례한다고 보면 {params}M에서 {target}M으로 "
        "줄여야 함"
    ),
    "lighten": "구조를 더 경량화: {what} 항목을 {share} 더 줄여야 함",
    "smaller_input": (
        "입력 크기 축소: 한 변을 {side}픽셀에서 {smaller}픽셀로 줄이면 MACs와 활성값이 {share}만 남음. 줄인 크기로 "
        "다시 학습해야 함"
    ),
    "input_too_small": "입력 크기 축소만으로는 불가능함: 한 변이 {side}픽셀에서 {stride}픽셀 미만으로 줄어야 함",
    "another_network": (
        "다른 신경망: '{label}'({row} 단계에서 시험, 결과: {status}), 측정값 {standing}. 학습을 늘리거나 정확도 제한을 "
        "완화하면 쓸 수 있음"
    ),
    "another_board": "다른 보드: {board}({cores})보다 {times}배 빠른 보드",
    "no_fp16_files": "{board}의 {runtime} 런타임은 {presets} 파일만 실행함(6.2.2)",
    # What stands in the gaps of others.
    "what_latency": "지연 시간",
    "what_size": "파일 크기",
    "what_zip": "압축 파일 크기",
    "what_memory": "최대 메모리",
    "what_accuracy": "정확도",
    "standing_within": "{what} {figure}\N{NO-BREAK SPACE}{unit}(제한 {limit}\N{NO-BREAK SPACE}{unit} 이내)",
    "standing_over": "{what} {figure}\N{NO-BREAK SPACE}{unit}(제한 {limit}\N{NO-BREAK SPACE}{unit}의 {times}배)",
    "gain_latency": "{what} 1/{median}배({rounds}회 측정 범위 1/{least}~1/{most}배)",
    "gain_predicted": "{what} 1/{median}배로 예측(1/{least}~1/{most}배)",
    "gain": "{what} 1/{times}배",
    "accuracy_interval": "{accuracy}({low}~{high})",
    "and": "{first}, {second}",
    "then": "{first} {second}",
    "cores_of": "{name} {count}개 {mhz} MHz",
    "cores_unclocked": "{name} {count}개",
    # What became of a step or a setting.
    "status_taken": "적용",
    "status_skipped": "생략",
    "status_too_lossy": "정확도 미달",
    "status_no_gain": "효과 없음",
    "status_promising": "유망",
    "status_not_tried_further": "추가 시험 안 함",
    "status_not_chosen": "선택 안 함",
    "status_cannot_be_used": "사용 불가",
    # What a setting is.
    "label_pretrained": "{name}(사전 학습 가중치)",
    "label_random": "{name}(임의 초기 가중치)",
    "label_factors": "병목 구조, MACs의 {share}",
    "label_subpixel": "Deconv를 합성곱과 DEPTH_TO_SPACE로 대체",
    "label_channels": "채널 제거, MACs의 {share} 유지",
    "label_sparsity": "가중치의 {share}를 0으로",
    "label_int8": "전체 정수(int8)",
    "label_int8_corrected": "전체 정수(int8), 제곱 오차가 가장 작은 범위와 편향 보정",
    "label_int8_equalised": "전체 정수(int8), 계층 간 가중치 균등화와 편향 보정",
    "label_int8_rounded": "전체 정수(int8), 보정 사진으로 고른 반올림",
    "label_int8_worst": "전체 정수(int8), 편향 보정, 오차가 가장 큰 {count}개 계층은 부동소수점",
    "label_quantization_aware": "전체 정수(int8), 양자화 인지 학습 후",
    "label_int16x8": "전체 정수, 활성값 16비트(int16x8)",
    "label_weight_only_int8": "가중치만 8비트, 부동소수점 연산(weight_only_int8)",
    "label_weight_only_int4": "가중치만 4비트와 8비트, 부동소수점 연산(weight_only_int4)",
    "label_dynamic": "가중치만 8비트, 연산 경계는 부동소수점(dynamic)",
    "label_fp16": "16비트 부동소수점 가중치(fp16)",
    "label_mixed": "혼합 정밀도({precision}) 학습 후 16비트 부동소수점 가중치",
    "label_file": "{label}, {preset}",
    "label_scratch": "{name}(처음부터 학습)",
    "label_pconv": "{label} + PConv {channels}",
    "label_weight_bits": "{label}, 가중치 {bits}비트",
    "label_sparse": "{label}, 희소율 {share}",
    # What a row's reader should know.
    "note_zeros": "합성곱 가중치의 {share}가 0임.",
    "note_taught": "{row} 행의 신경망을 교사로 하여 학습함(지식 증류, 비중 {weight}).",
    "note_taught_gain": (
        "{row} 행의 신경망을 교사로 하여 학습함(지식 증류, 비중 {weight}). 교사로 얻은 것은 {gain}점: 같은 학습에서 "
        "교사가 있으면 {taught}, 없으면 {alone}."
    ),
    "note_taught_loss": (
        "교사 없이 학습함: {row} 행의 신경망을 교사로 하면(지식 증류, 비중 {weight}) 같은 학습에서 {alone} 대신 "
        "{taught}로 {gain}점."
    ),
    "note_no_teacher": "교사 없이 학습함: {fault}",
    "note_trained": "{policy} 방식으로 학습함({why}).",
    "note_undelegated": (
        "XNNPACK이 처리하지 않는 연산이 {total}개 중 {count}개임({ops}). 이 연산은 런타임의 자체 커널이 실행하여 몇 배 "
        "느린 경우가 많고, 그때마다 그래프가 나뉨."
    ),
    "note_uncounted": "다음 연산은 MACs 집계에서 제외함: {ops}.",
    # What a runtime takes.
    "takes": "지원({count})",
    "takes_not": "미지원({count}개 중 {missed}개: {layers})",
    "takes_slower": "느린 커널({count}개 중 {missed}개: {layers})",
    "runs_only": "{presets} 파일만 실행함",
    # Why a setting cannot be used.
    "fault_preset": "{runtime} 런타임은 {preset} 파일을 실행하지 않음",
    "fault_ops": "{runtime} 런타임이 지원하지 않는 연산: {ops}",
    "fault_backbone": (
        "백본의 모든 연산을 대상 보드({board}, {runtime}, {preset})에서 지원해야 함. 사용할 수 있는 경량 신경망: "
        "{passing}. {name}에서 지원하지 않는 연산: {ops}"
    ),
    "fault_subpixel": "합성곱과 DEPTH_TO_SPACE로 바꾸어 빨라지는 Deconv가 없음: {deconvs}",
    "deconv_missing": "{layer}: 보드가 지원하지 않는 연산 {ops}",
    "deconv_slow": "{layer}: 모든 측정 회차에서 빨라지지는 않음",
    "op_of_layer": "{op}(층 {layer})",
    "op_of_layer_why": "{op}(층 {layer}, {why})",
    "op_missing": "{runtime} 런타임에 {op} 연산이 없음",
    "op_inputs": "{runtime} 런타임의 {op} 연산은 입력을 {most}개까지 지원하나 {count}개임",
    "op_version": "{runtime} 런타임의 {op} 연산은 버전 {newest}까지 지원하나 파일의 버전은 {version}임",
    "op_dtype": "{runtime} 런타임은 {dtype} 형식의 {op} 연산을 지원하지 않음",
    "also": "{first}; {second}",
    "and_more": "{first} 외 {count}개({ops})",
    "none_tried": "시험한 것 중 없음",
}  # fmt: skip

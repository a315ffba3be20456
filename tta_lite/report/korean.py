"""The texts of the page in Korean, by their English text. Data only; its reasons are in `korean_reasons`.

No particle follows a gap whose last sound is not known: names are followed by a noun or a colon.
"""
# The page shows true signs and quotation marks.
# ruff: noqa: RUF001

from __future__ import annotations

from tta_lite.report import korean_adaptive, korean_boards, korean_quantization, korean_search

TEXTS: dict[str, str] = {
    **korean_boards.TEXTS,
    **korean_boards.BY_NAME,
    **korean_quantization.TEXTS,
    **korean_search.TEXTS,
    **korean_adaptive.TEXTS,
    # The headline.
    "Nothing has been measured yet.": "아직 측정한 결과가 없음",
    "the unmodified net": "원본 신경망",
    "No lighter row was chosen: {base} stays.": "경량화한 행을 선택하지 않음: {base} 유지",
    "No lighter row has been taken and measured yet.": "적용하고 측정까지 마친 경량화 단계가 아직 없음",
    "{row} against {base}": "{row}: {base} 대비",
    "{row} is as fast as {base}": "{row}: {base} 대비 속도 동등",
    "{row} is {times} than {base}": "{row}: {base} 대비 {times}",
    "at equal {metric}": "{metric} 동등",
    "at {gap} {metric}": "{metric} {gap}",
    "{speed} {accuracy}": "{speed}, {accuracy}",
    "{sentence}; its file is {times}": "{sentence}, 파일 크기 {times}",
    "{sentence}; its file is as large": "{sentence}, 파일 크기 동등",
    "{sentence}.": "{sentence}",
    "{factor}× faster": "{factor}배 빠름",
    "{factor}× slower": "{factor}배 느림",
    "{factor}× smaller": "1/{factor}로 감소",
    "{factor}× larger": "{factor}배로 증가",
    "{factor}× less": "1/{factor}로 감소",
    "{factor}× more": "{factor}배로 증가",
    "the same": "동등",
    "{gap} points": "{gap}점",
    "Latency p50, ms": "지연 시간 p50, ms",
    "Initialisation, s": "초기화 시간, s",
    "File, MB": "파일 크기, MB",
    "Peak memory, MB": "최대 메모리, MB",
    "The 95 % intervals of the two accuracies overlap: with so few test examples the difference may be luck.": (
        "두 정확도의 95% 신뢰 구간이 겹침: 시험 데이터 수가 적어 우연에 의한 차이일 수 있음."
    ),
    "The 95 % intervals of the two accuracies do not overlap.": "두 정확도의 95% 신뢰 구간이 겹치지 않음.",
    "Measured with {where}. ": "측정 환경: {where}. ",
    "Before and after": "적용 전후 비교",
    "change": "변화",
    # The budget.
    "The budget": "예산(목표 사양)",
    "limit on": "제한 항목",
    "allowed": "허용값",
    "at most {limit}": "{limit} 이하",
    "at least {floor}": "{floor} 이상",
    "met": "충족",
    "over": "미충족",
    "The budget is not met. What the guideline advises (clause 6.2), with estimates from the rows below:": (
        "예산을 충족하지 못함. 가이드라인의 권고 사항(6.2절)과 아래 측정 결과에 근거한 추정치는 다음과 같음:"
    ),
    "The budget is met by {row}: {standing}.": "{row} 단계에서 예산을 충족함: {standing}.",
    "The budget is not met. Nearest comes {row}: {standing}.": (
        "예산을 충족하지 못함. 예산에 가장 가까운 단계는 {row}: {standing}."
    ),
    "What the guideline advises (6.2):": "가이드라인의 권고 사항(6.2):",
    "For the {board}. {verdict}": "대상 보드: {board}. {verdict}",
    # The table.
    "The ladder": "단계별 결과",
    "row": "행",
    "Measured in this run": "이번 실행의 측정값",
    "TTA report, RK3399, 2019": "TTA 기술보고서, RK3399, 2019년",
    "accuracy": "정확도",
    "init": "초기화",
    "latency p50": "지연\N{NO-BREAK SPACE}시간 p50",
    "latency p90": "지연\N{NO-BREAK SPACE}시간 p90",
    "speed-up": "속도 향상",
    "file": "파일",
    "zip": "압축 파일",
    "peak memory": "최대 메모리",
    "params": "파라미터",
    "per image": "이미지당",
    "verdict": "판정",
    "No step has finished yet.": "완료된 단계가 아직 없음.",
    "Latency, initialisation and peak memory: {where}.": "지연 시간, 초기화 시간, 최대 메모리: {where}.",
    "Latency, initialisation and peak memory of {rows}: {where}.": (
        "지연 시간, 초기화 시간, 최대 메모리({rows}): {where}."
    ),
    " Timed runs a row: {count}.": " 행당 측정 횟수: {count}회.",
    " Timed runs a row: {least} to {most}.": " 행당 측정 횟수: {least}~{most}회.",
    "Latency: {where}.": "지연 시간: {where}.",
    "predicted for {board} by a model of {runtime}, {threads}, not measured": (
        "{board}에 대한 예측값({runtime} 모델, {threads}), 측정값 아님"
    ),
    "Interval of the predicted latencies ({share}), ms: {told}.": "예측 지연 시간의 구간({share}), ms: {told}.",
    "Beyond what the model was fitted to: {told}.": "예측 모델의 적합 범위를 벗어난 부분: {told}.",
    "The latencies are predicted, not measured.": "지연 시간은 측정값이 아닌 예측값입니다.",
    "1 thread": "스레드 1개",
    "{count} threads": "스레드 {count}개",
    "delegate {name}": "델리게이트 {name}",
    "delegate none": "델리게이트 없음",
    "{how}, on this machine ({cpu}), which is not the board": "{how}, 이 컴퓨터({cpu})에서 측정(보드 측정값이 아님)",
    "{how}, on an emulated {board} ({cpu}), which is not the board itself": (
        "{how}, {board} 에뮬레이터({cpu})에서 측정(실제 보드 측정값이 아님)"
    ),
    "{how}, on the board {board} ({cpu})": "{how}, {board} 보드({cpu})에서 측정",
    "0 to 100": "0~100",
    "of {dataset}": "데이터 {dataset}",
    "on {counts} test examples": "시험 데이터 {counts}개",
    " or ": " 또는 ",
    (
        "; the interval is a 95 % bootstrap over the test examples: the luck of which examples were drawn, not of the "
        "training"
    ): (
        "; 구간은 시험 데이터에 대한 95% 부트스트랩 신뢰 구간임: 시험 데이터 선택의 우연만 반영하고 학습의 우연은 "
        "반영하지 않음"
    ),
    ". It is that of the exported file, run by the interpreter.": (
        ". 변환된 파일을 인터프리터로 실행하여 얻은 값임."
    ),
    (
        'The columns "{group}" are Table 1 of the TTA technical report, measured on a Firefly RK3399 in 2019 with '
        'other '
        "data and another runtime: compare the ratios, not the figures."
    ): (
        "'{group}' 열: TTA 기술보고서 표 1의 값. 2019년 Firefly RK3399에서 다른 데이터와 다른 런타임으로 측정했으므로 "
        "수치가 아니라 비율을 비교해야 함."
    ),
    (
        "Speed-up: latency p50 of the first row ({row}) over that of the row. 1 MB = 1,000,000 bytes. {dash}: no "
        "figure."
    ): (
        "속도 향상: 첫 행({row})의 지연 시간 p50을 해당 행의 지연 시간 p50으로 나눈 값. 1 MB = 1,000,000바이트. "
        "{dash}: 값 없음."
    ),
    # The plots.
    "What each row costs, and what it keeps": "행별 비용과 정확도",
    "{metric} against latency": "{metric} 대 지연 시간",
    "{metric} against file size": "{metric} 대 파일 크기",
    "{head}, one mark a row: {rows}": "{head}, 행마다 표시 하나: {rows}",
    "{row} {accuracy} at {latency} ms and {size} MB": "{row} {accuracy}({latency} ms, {size} MB)",
    "{head}. Up and to the left is better; the bar is the 95 % interval.": (
        "{head}. 왼쪽 위로 갈수록 좋음. 세로 막대: 95% 신뢰 구간."
    ),
    (
        "Crosses: settings that were trained and rejected; ticks at the bottom: settings that were only timed; dashed: "
        "the budget."
    ): "가위표: 학습했으나 채택하지 않은 설정. 아래쪽 눈금표: 시간만 측정한 설정. 점선: 예산.",
    "Latency p50 (ms, log scale)": "지연 시간 p50 (ms, 로그 눈금)",
    "File (MB, log scale)": "파일 크기 (MB, 로그 눈금)",
    "File after zip (MB)": "압축 후 파일 크기 (MB)",
    "Zeros (% of the pruned weights)": "0인 가중치 (가지치기 대상 가중치 중 %)",
    "nothing measured yet": "아직 측정값 없음",
    # Why, and what was tried.
    "Why each step was taken or not": "단계별 적용 여부와 이유",
    "Guideline {clause}": "가이드라인 {clause}",
    "{metric} {before} as a Keras model, {after} as the exported file": (
        "{metric}: Keras 모델 {before}, 변환된 파일 {after}"
    ),
    "{time} spent": "소요 시간 {time}",
    "{seconds} s": "{seconds}초",
    "{minutes} min {seconds} s": "{minutes}분 {seconds}초",
    "{hours} h {minutes} min": "{hours}시간 {minutes}분",
    "What was tried": "시험한 설정",
    (
        "Untrained settings are timed first; only the promising ones are trained and scored. Figures of one step "
        "compare "
        "with each other."
    ): (
        "먼저 학습 전 상태로 시간을 측정하고, 유망한 설정만 학습하여 정확도를 평가함. 수치는 같은 단계 안에서만 "
        "비교할 수 있음."
    ),
    "Settings of {step}": "{step} 단계의 설정",
    # The samples.
    "The same pictures, row by row": "같은 사진에 대한 행별 예측",
    "true class": "정답 클래스",
    "Test picture of class {name}": "시험 사진(정답 클래스: {name})",
    "right": "정답",
    "wrong": "오답",
    (
        "Pictures that lie evenly over the test set, with the class that each exported file finds likeliest, and its "
        "probability."
    ): "시험 데이터 전체에서 고르게 뽑은 사진. 변환된 각 파일이 가장 높은 확률로 예측한 클래스와 그 확률.",
    "The same examples, row by row": "같은 시험 데이터에 대한 행별 출력",
    "Outputs of {row} for test examples": "시험 데이터에 대한 {row} 행의 출력",
    "test examples": "시험 데이터",
    "What the networks get": "신경망의 입력",
    "What the outputs should be": "정답 출력",
    # The skeletons and the joints.
    "The same people, row by row": "같은 인물에 대한 행별 예측",
    "the person’s left": "인물의 왼쪽",
    "the person’s right": "인물의 오른쪽",
    "middle": "가운데",
    "annotated": "정답",
    "Predictions of {row}": "{row} 행의 예측",
    "Joints predicted by {row}, drawn over test pictures with the annotated joints beside them": (
        "{row} 행이 예측한 관절을 정답 관절과 함께 시험 사진 위에 그린 그림"
    ),
    "{metric} by joint": "관절별 {metric}",
    "joint": "관절",
    "{metric} by class": "클래스별 {metric}",
    "class": "클래스",
    "all scored": "평가 대상 전체",
    "left {part}": "왼쪽 {part}",
    "right {part}": "오른쪽 {part}",
    "ankle": "발목",
    "knee": "무릎",
    "hip": "엉덩이",
    "wrist": "손목",
    "elbow": "팔꿈치",
    "shoulder": "어깨",
    "eye": "눈",
    "ear": "귀",
    "nose": "코",
    "neck": "목",
    "upper neck": "목 위쪽",
    "head top": "정수리",
    "pelvis": "골반",
    "thorax": "가슴",
    # What the board takes, and how it was measured.
    "What the board takes": "보드의 연산 지원",
    "op of the unmodified network": "원본 신경망의 연산",
    "How it was measured": "측정 방법",
    "The command:": "실행 명령:",
    "Package versions": "패키지 버전",
    "All flags": "전체 플래그",
    "Machine": "컴퓨터",
    "1 core": "코어 1개",
    "{count} cores": "코어 {count}개",
    "{size} GB memory": "메모리 {size} GB",
    "Seed": "시드",
    "Source": "소스",
    "commit {commit}": "커밋 {commit}",
    "not run from a git checkout": "git 저장소 밖에서 실행함",
    "Page written": "작성 시각",
    "target": "대상 보드",
    "time spent": "소요 시간",
    # What the figures can and cannot say.
    "What the figures can and cannot say": "수치 해석의 범위",
    (
        "The latencies are those of the machine named above. They say which row is faster there and by how much; "
        "a board "
        "with other cores, caches and kernels can give other ratios and another order."
    ): (
        "지연 시간은 위에 적은 컴퓨터에서 측정한 값임. 그 컴퓨터에서 어느 행이 얼마나 빠른지를 나타내며, 코어, "
        "캐시, 커널이 "
        "다른 보드에서는 비율과 순서가 달라질 수 있음."
    ),
    (
        "The interval holds the luck of the test examples. It does not hold the spread between two trainings with "
        "different seeds, which can be as large."
    ): (
        "신뢰 구간은 시험 데이터 선택의 우연만 반영함. 시드가 다른 두 학습 사이의 편차는 반영하지 않으며, 그 편차도 "
        "신뢰 구간만큼 클 수 있음."
    ),
    # A guideline run and the case study.
    "The guideline, step by step": "단계별 경량화 가이드라인 적용 결과",
    "PoseResNet made light: the case study of the TTA guideline": "PoseResNet 경량화: TTA 가이드라인 사례 연구",
    (
        "The guideline's chapter 7 on this machine: a light backbone (G1), narrow inputs for the Deconvs (G2), then "
        "quantisation (G3), reduced precision (G4) or pruning (G5), each measured as a TFLite file."
    ): (
        "가이드라인 7장의 사례를 이 컴퓨터에서 수행함: 경량 백본(G1), Deconv 입력 채널 축소(G2)에 이어 "
        "양자화(G3), 연산 "
        "정밀도 축소(G4) 또는 가지치기(G5)를 적용하고, 각각 TFLite 파일로 측정함."
    ),
    "The backbone of G1 started from pretrained weights: a gain in accuracy is theirs too.": (
        "G1의 백본은 사전 학습 가중치에서 출발했습니다. 정확도 향상은 단계뿐 아니라 그 가중치의 효과이기도 합니다."
    ),
    "Only one of the two started from pretrained weights: the difference in accuracy is not what the steps cost.": (
        "둘 중 하나만 사전 학습 가중치에서 시작함: 정확도 차이를 각 단계의 대가로 볼 수 없음."
    ),
    (
        "{epochs} epochs, Adam, learning rate {rate}, a tenth of it after {drops} of the steps; the same for "
        "every row; "
        "seed {seed}"
    ): (
        "{epochs}에폭, Adam, 학습률 {rate}, 전체 학습의 {drops} 시점에 각각 1/10로 감소. 모든 행에 동일하게 적용. "
        "시드 {seed}"
    ),
    "{dataset}: left out {example}": "{dataset}: 제외한 데이터 {example}",
    "training": "학습",
    "training people": "학습 데이터(인물 수)",
    "the network as it is, to compare with": "비교 기준이 되는 원본 신경망",
    "a light backbone; its output has the stride of the old one, so the head fits unchanged": (
        "경량 백본으로 교체함. 출력 스트라이드가 기존 백본과 같아 헤드를 그대로 사용함"
    ),
    "a PConv before each Deconv, which now are the costliest layers": (
        "백본 교체 후 연산량이 가장 큰 층이 된 Deconv 앞에 각각 PConv를 추가함"
    ),
    "trained in mixed precision, exported with float16 weights": (
        "혼합 정밀도로 학습하고 float16 가중치로 변환함"
    ),
    "the network of G1+G2 in full integer arithmetic; in 2019 Deconv could not be quantised": (
        "G1+G2의 신경망을 전체 정수 연산으로 변환함. 2019년에는 Deconv를 양자화할 수 없었음"
    ),
    "magnitude pruning: for memory, not for speed": "크기 기준 가지치기: 속도가 아니라 메모리 절감이 목적임",
    "G1 without ImageNet weights, to compare fairly with none": (
        "none 행과 공정하게 비교하기 위해 ImageNet 가중치 없이 G1을 적용함"
    ),
    "G1+G2 without ImageNet weights, to compare fairly with none": (
        "none 행과 공정하게 비교하기 위해 ImageNet 가중치 없이 G1+G2를 적용함"
    ),
    "a GPU is present: float16 with loss scaling": "GPU 사용: 손실 스케일링을 적용한 float16",
    "as was asked for": "사용자 지정",
    "no GPU is present: bfloat16 instead of float16, for it needs no loss scaling": (
        "GPU 없음: 손실 스케일링이 필요 없는 bfloat16을 float16 대신 사용"
    ),
    (
        "The people are synthetic: the scores compare the rows with each other and nothing else. Whoever always "
        "answers "
        "with the mean pose scores about 14 here, and a training of some minutes comes hardly further."
    ): (
        "합성 인물 데이터이므로 점수는 행 사이의 비교에만 의미가 있음. 항상 평균 자세로 답해도 약 14점이 나오며, "
        "몇 분의 "
        "학습으로는 그보다 크게 높아지지 않음."
    ),
    (
        "The unmodified network starts from random weights, the light ones (but for the rows from scratch) from "
        "{weights}: what they differ by in accuracy is not what G1 and G2 cost."
    ): (
        "원본 신경망은 임의의 가중치에서, 경량 신경망은(scratch 행 제외) {weights} 가중치에서 학습을 시작함: "
        "정확도 차이를 "
        "G1, G2 단계의 대가로 볼 수 없음."
    ),
    "1 epoch": "1에폭",
    "{count} epochs": "{count}에폭",
    (
        "Every row was trained for {epochs}; the reference trains for 140. A network that starts from random "
        "weights is "
        "far from its best after so few, a pretrained one less so."
    ): (
        "모든 행을 {epochs} 동안 학습함(기준 구현은 140에폭). 이 정도 학습으로는 임의의 가중치에서 시작한 "
        "신경망이 최고 "
        "성능에 크게 못 미치며, 사전 학습된 신경망은 그 차이가 더 작음."
    ),
    (
        "PCKh here measures in the distance from neck to head top, not in MPII's head box: it is not to be put beside "
        "MPII figures, nor beside the report's."
    ): (
        "여기서 PCKh는 MPII의 머리 상자가 아니라 목에서 정수리까지의 거리를 기준으로 함: MPII 수치나 기술보고서의 "
        "수치와 "
        "나란히 비교할 수 없음."
    ),
    (
        "PCKh here measures in the distance from the nose to the middle of the shoulders: it is to be put beside "
        "neither "
        "MPII figures nor the report's, and it is not COCO's own metric."
    ): (
        "여기서 PCKh는 코에서 양어깨 가운데까지의 거리를 기준으로 함: MPII 수치나 기술보고서의 수치와 나란히 비교할 수 "
        "없으며, COCO의 공식 지표도 아님."
    ),
}  # fmt: skip

"""The texts of the page that speak of boards and of layers, in Korean: English text -> Korean text."""

from __future__ import annotations

TEXTS: dict[str, str] = {
    "Where the time goes, layer by layer": "층별 연산량과 지연 시간",
    "Layers of {row}": "{row} 행의 층",
    "Every layer of {row}, the slowest first": "{row} 행의 모든 층(느린 순서)",
    "layers": "층",
    "layer": "층",
    "op": "연산",
    "latency": "지연 시간",
    "{count} more": "그 밖의 {count}개",
    (
        "A stage is consecutive layers; all stages of a network hold about the same MACs, and a layer with more "
        "stands alone. MACs share one scale in all charts, and so do latencies."
    ): (
        "연속한 층을 MACs가 비슷한 구간으로 묶음. MACs가 큰 층은 단독 구간임. MACs 막대는 모든 도표에서 같은 척도를 "
        "쓰며, 지연 시간 막대도 마찬가지임."
    ),
    (
        "The times are those of the runtime's own profiler, in profiled runs beside the timed ones, on {where}; "
        "what it merges into another layer is counted there. Beside each, in grey, the least and the most that one "
        "of {rounds} rounds said."
    ): (
        "시간은 {where}에서, 지연 시간 측정과는 별도의 실행으로 런타임의 프로파일러가 잰 값임. 다른 층에 합쳐진 층의 "
        "시간은 합쳐진 층에 포함됨. 옆의 회색 수치는 {rounds}회 중 최솟값과 최댓값임."
    ),
    "{row}: the layers sum to {sum} ms; the whole file takes {whole} ms when it is not profiled.": (
        "{row}: 층의 합은 {sum} ms, 프로파일러 없이 파일 전체를 실행한 시간은 {whole} ms."
    ),
    "On boards": "보드에서 측정한 값",
    "Layers on {board}": "{board}의 층별 지연 시간",
    "board": "보드",
    "runs": "실행 횟수",
    "initialisation": "초기화",
    "memory": "메모리",
    "outputs": "출력",
    "as expected": "기준값과 일치",
    "not as expected": "기준값과 다름",
    "What each row gives a core to do": "각 행이 코어에 주는 일의 양",
    "instructions": "명령어",
    "loaded": "읽은 양",
    "stored": "쓴 양",
    "L1 misses": "L1 미스",
    "L2 misses": "L2 미스",
    "millions of instructions, and of bytes, an inference": "추론 한 번의 명령어 수와 바이트 수(백만 단위)",
    (
        "Counted under emulation, the same each time. They are no latencies: a core does several instructions a clock, "
        "or waits a hundred clocks for a line of memory. Misses are those of a model of the two caches without a "
        "prefetcher."
    ): (
        "에뮬레이션으로 센 값으로, 매번 같음. 지연 시간이 아님: 코어는 한 클록에 명령어 여러 개를 실행하기도 하고, "
        "메모리 한 줄을 백 클록 넘게 기다리기도 함. 미스는 프리페처가 없는 두 단계 캐시 모형의 값임."
    ),
    "Governor, clock and temperature of the board just before and after: {told}.": (
        "측정 직전과 직후 보드의 거버너, 클록, 온도: {told}."
    ),
    "A core's clock moved while {rows} were timed: their latencies are not those of one clock.": (
        "{rows} 행을 재는 동안 코어의 클록이 변함: 이 행의 지연 시간은 한 클록에서 잰 값이 아님."
    ),
}
# What reaches the page by name.
BY_NAME: dict[str, str] = {
    "multiply-add, SIMD": "SIMD 곱셈·누산",
    "other SIMD": "그 밖의 SIMD",
    "loads": "읽기",
    "stores": "쓰기",
    "the rest": "나머지",
    "emulated: its times say nothing and are left out": "에뮬레이션: 시간은 의미가 없어 싣지 않음",
}

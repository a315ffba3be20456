"""The texts that speak of adaptive networks, in Korean: English text -> Korean text."""

from __future__ import annotations

TEXTS: dict[str, str] = {
    "mode": "모드",
    "MACs, mean": "평균 MAC 수",
    "95 % interval": "95 % 신뢰구간",
    "answered by each stage (%)": "단계별 응답 비율(%)",
    "file": "파일",
    "Scored on {examples} examples.": "예제 {examples}개로 평가함.",
    "One file with a signature for each mode: {one} bytes; a file for each: {many} bytes together.": (
        "모드마다 서명을 둔 파일 하나: {one}바이트, 모드별 파일의 합: {many}바이트"
    ),
    "Latencies: {source}": "지연 시간의 출처: {source}",
    "Networks that were trained alone: timed in turn with the modes, scored on {examples} examples.": (
        "따로 학습한 네트워크: 모드와 번갈아 시간을 재고, 예제 {examples}개로 평가함."
    ),
    "modes of one network": "한 네트워크의 모드",
    "trained alone": "따로 학습",
    "adaptive": "적응형",
    "{metric} in time (%)": "마감 내 {metric}(%)",
    "{metric} of answers (%)": "응답한 프레임의 {metric}(%)",
    "missed (%)": "마감 미준수(%)",
    "late (%)": "지연(%)",
    "dropped (%)": "누락(%)",
    "mean latency (ms)": "평균 지연 시간(ms)",
    "switches": "전환 횟수",
    "slow-down (times)": "감속 배율(배)",
    "mode of the policy; marks: missed frames": "정책이 선택한 모드(표식: 마감을 지키지 못한 프레임)",
    "time (s)": "시간(s)",
    "{frames} frames, deadline {deadline} ms; slow-down {low} to {high} times, {mean} on average.": (
        "프레임 {frames}개, 마감 {deadline} ms, 감속 배율 {low}~{high}배, 평균 {mean}배"
    ),
    "In time: a frame that was late or dropped counts as wrong. Missed: late and dropped together.": (
        "마감 내 값에서는 지연되거나 누락된 프레임을 오답으로 셈. 마감 미준수는 지연과 누락의 합임."
    ),
    "Simulated, from latencies that were: {source}": "모의실험 결과임. 지연 시간의 출처: {source}",
}

"""The texts of an architecture search, in Korean: English text -> Korean text."""

from __future__ import annotations

TEXTS: dict[str, str] = {
    "{trials} networks: {done} measured, {pruned} given up, {failed} cannot be used, {running} at work.": (
        "신경망 {trials}개: 측정 완료 {done}개, 중도 포기 {pruned}개, 사용 불가 {failed}개, 진행 중 {running}개."
    ),
    "Architecture search": "신경망 구조 탐색",
    "{done} of {total} networks settled": "신경망 {total}개 중 {done}개 완료",
    "{far}; best so far: trial {number}, {metric} {accuracy} at {ms} ms, reward {reward}": (
        "{far}, 현재 최고: 시험 {number}번, {metric} {accuracy}, 지연 시간 {ms} ms, 보상 {reward}"
    ),
    "{far}; the front: {count}, from {metric} {low} at {fast} ms to {high} at {slow} ms": (
        "{far}, 파레토 경계 {count}개: {metric} {low}({fast} ms)부터 {high}({slow} ms)까지"
    ),
    "At work. This page reads itself anew every {seconds} s.": "진행 중. 이 페이지는 {seconds}초마다 새로 고침됨.",
    "Done.": "완료.",
    "Written: {time}": "작성 시각: {time}",
    "Wanted: accuracy and latency as two objectives.": "목표: 정확도와 지연 시간을 두 목적으로 최적화.",
    "Wanted: MnasNet's {kind} reward for a latency of {ms} ms.": "목표: 지연 시간 {ms} ms에 대한 {kind} 보상.",
    "hard": "하드",
    "soft": "소프트",
    "Accuracy and latency of every network": "모든 신경망의 정확도와 지연 시간",
    "Up and to the left is better.": "왼쪽 위로 갈수록 좋음.",
    "The newest trials": "최근 시험",
    "State": "상태",
    "done": "측정 완료",
    "pruned": "중도 포기",
    "failed": "사용 불가",
    "running": "진행 중",
    "after each epoch": "에폭별 정확도",
    "network": "신경망",
    "why": "이유",
    "The front of the short trainings": "짧은 학습에서 얻은 파레토 경계",
    "The best rewards of the short trainings": "짧은 학습에서 보상이 가장 높은 신경망",
    "Trained in full": "전체 학습 완료",
    "trained in full": "전체 학습",
    "Trial": "시험",
    "Reward": "보상",
    "95 % interval": "95% 신뢰 구간",
    "Latency (ms)": "지연 시간(ms)",
    "Source of the latency": "지연 시간의 출처",
    "short trainings ({count})": "짧은 학습({count}개)",
    "their front": "파레토 경계",
    "target latency": "목표 지연 시간",
}

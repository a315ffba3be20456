"""The texts of an architecture search, in Korean: English text -> Korean text."""

from __future__ import annotations

TEXTS: dict[str, str] = {
    "{trials} networks: {done} measured, {pruned} given up, {failed} cannot be used, {running} at work.": (
        "신경망 {trials}개: 측정 완료 {done}개, 중도 포기 {pruned}개, 사용 불가 {failed}개, 진행 중 {running}개."
    ),
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

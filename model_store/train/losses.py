"""What training makes small: pure functions of two networks' outputs, each summed over tokens or positions."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def divergence(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Kullback-Leibler from the teacher's next tokens to the student's, in nats (Hinton et al., 2015).

    Args:
        student: logits, [tokens, vocabulary].
        teacher: the same of the teacher.
        temperature: both are divided by it; the sum is multiplied by its square, so that gradients stay as large.
    """
    ours, theirs = (F.log_softmax(one.float() / temperature, -1) for one in (student, teacher))
    return (theirs.exp() * (theirs - ours)).sum() * temperature**2


def squared_difference(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean over the width of squared differences, summed over the rest (FitNets: Romero et al., 2015)."""
    return (student.float() - teacher.float()).square().mean(-1).sum()


def attention_transfer(student: Tensor, teacher: Tensor) -> Tensor:
    """Kullback-Leibler between attentions, averaged over heads, summed over queries (MiniLM: Wang et al., 2020).

    Heads are averaged first, for the student may have fewer. [rows, heads, queries, keys].
    """
    ours, theirs = (one.float().mean(1).clamp_min(1e-8) for one in (student, teacher))
    return (theirs * (theirs.log() - ours.log())).sum()


def cross_entropy(logits: Tensor, tokens: Tensor, smoothing: float = 0.0) -> Tensor:
    """Of the tokens that are wanted, in nats; `smoothing` is given to all others (Szegedy et al., 2016)."""
    return F.cross_entropy(logits.float(), tokens, reduction="sum", label_smoothing=smoothing)


def cosine_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """One less the cosine of hidden states, summed (DistilBERT: Sanh et al., 2019)."""
    return (1 - torch.cosine_similarity(student.float(), teacher.float(), dim=-1)).sum()

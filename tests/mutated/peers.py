"""Faults in the comparison with other projects' updates."""

from mutated.mutation import Mutation

TEST = "tests/bench/test_peers.py"

MUTATIONS = [
    Mutation(
        "peers: without guidance every state is seen twice",
        "rocm/bench/peer_trl.py",
        "if do_classifier_free_guidance else prompted",
        "",
        f"{TEST}::test_trl_is_timed_in_the_same_rounds_as_our_update_without_a_reference",
    ),
    Mutation(
        "peers: an update that changes nothing is timed",
        "rocm/bench/step.py",
        "elif all(torch.equal(*pair)",
        "elif False and all(torch.equal(*pair)",
        f"{TEST}::test_an_update_that_does_not_train_is_not_timed",
    ),
    Mutation(
        "peers: a peer's module stays imported",
        "rocm/bench/peers.py",
        "        _forget(package)\n        sys.modules.update(known)\n",
        "        sys.modules.update(known)\n",
        f"{TEST}::test_what_was_imported_from_a_path_is_forgotten",
    ),
    Mutation(
        "peers: our update without a reference does not clear its gradients",
        "rocm/bench/peers.py",
        "        setup.learner.optimizer.zero_grad(set_to_none=True)\n",
        "",
        f"{TEST}::test_our_update_without_a_reference_is_rocms_at_beta_0",
    ),
]

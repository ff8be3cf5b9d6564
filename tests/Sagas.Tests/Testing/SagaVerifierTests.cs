using Sagas.Testing;
using Pair = Sagas.Tests.Heart.Pair;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Testing;

/// <summary>The explorer as an assertion in a user's test.</summary>
public sealed class SagaVerifierTests(ITestOutputHelper output)
{
    [Fact]
    public void A_trip_holds_under_the_default_bounds_without_retries_and_with_errors()
    {
        var report = SagaVerifier.Explore(new Heart.Trip()).ShouldHold();
        output.WriteLine(report.ToString());
        report.Found.Runs.Length.ShouldBe(3);
        report.Found.Runs.Select(run => (run.Bounds.Retries, run.Bounds.Errors, run.Bounds.Drops)).ShouldBe([(false, false, 0), (true, false, 1), (true, true, 0)]);
        report.ToString().ShouldContain(" a second");
    }

    [Fact]
    public void A_promise_of_ones_own_is_kept_or_broken_with_the_shortest_story()
    {
        SagaVerifier.Explore(new Pair(), Small)
            .WithInvariant("nothing is confirmed and undone both", effects => effects["seat"] != StepEffect.Confirmed || effects["room"] != StepEffect.Undone)
            .ShouldHold();
        var broken = Should.Throw<SagaTestException>(() => SagaVerifier.Explore(new Pair(), Small)
            .WithInvariant("the room is never confirmed before the seat", effects => effects["room"] != StepEffect.Confirmed || effects["seat"] == StepEffect.Confirmed)
            .ShouldHold());
        broken.Message.ShouldStartWith("pair v1: the room is never confirmed before the seat\n  start → try seat, try room\n");
        broken.Message.ShouldContain("→ confirm seat, confirm room; Confirming");
    }

    [Fact]
    public void What_could_not_be_tried_to_the_end_is_no_success()
    {
        var verifier = SagaVerifier.Explore(new Heart.Trip(), new ExplorerBounds { MaxStates = 5000 });
        verifier.Report().Found.Verdict.ShouldBe(ExplorerVerdict.Bounded);
        Should.Throw<SagaTestException>(() => verifier.ShouldHold()).Message.ShouldStartWith("trip v1 has more states than the 5,000 that were allowed: nothing was found to be broken, but not everything was tried. Lower ");
    }

    [Fact]
    public void With_errors_in_its_own_bounds_a_saga_is_not_tried_with_errors_once_more()
    {
        var report = SagaVerifier.Explore(new Pair(), Small with { Errors = true }).ShouldHold();
        report.Found.Runs.Select(run => (run.Bounds.Retries, run.Bounds.Errors)).ShouldBe([(false, false), (true, true)]);
        report.Found.NotRun.ShouldBeEmpty();
        SagaVerifier.Explore(new Pair(), Small.WithoutRetries).ShouldHold().Found.Runs.Length.ShouldBe(1);
    }

    [Fact]
    public void An_invariant_over_a_step_that_is_not_there_is_told() =>
        Should.Throw<ArgumentException>(() => SagaVerifier.Explore(new Pair(), Small).WithInvariant("cars stay", effects => effects["car"] == StepEffect.None).ShouldHold())
            .Message.ShouldStartWith("Saga 'pair' has no step 'car'. Its steps are seat, room.");

    private static ExplorerBounds Small => new() { Crashes = 0, Duplicates = 0, Drops = 0, Cancel = false };
}

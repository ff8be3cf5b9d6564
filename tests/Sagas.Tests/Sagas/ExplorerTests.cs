using System.Collections.Immutable;
using System.Diagnostics;
using System.Globalization;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Heart;

/// <summary>Every order of every event and fault, for small sagas: the promises hold. And engines that are broken on purpose are found out.</summary>
public sealed class ExplorerTests(ITestOutputHelper output)
{
    private static readonly ExplorerBounds Calm = new() { Crashes = 0, Duplicates = 0, Drops = 0, Cancel = false, Errors = false };

    public static TheoryData<string, string> Explorations => new()
    {
        { "pair", "crash duplicate drop errors cancel" }, { "pair", "takeover" }, { "pair", "pause cancel" }, { "pair", "busy duplicate errors" },
        { "row", "crash errors cancel" }, { "row", "duplicate drop" }, { "trio", "crash cancel" },       // the trip's: SagaVerifierTests
        { "plain", "crash duplicate drop errors cancel" }, { "fork", "crash cancel" },
    };

    [Theory]
    [MemberData(nameof(Explorations))]
    public void Every_order_of_events_and_faults_keeps_the_promises(string saga, string faults)
    {
        var found = Explore(Saga(saga), Bounds(faults));
        found.Verdict.ShouldBe(ExplorerVerdict.Holds, found.ToString());
        found.States.ShouldBeGreaterThan(1000);
    }

    [Theory]
    [InlineData("pair")]
    [InlineData("row")]
    [InlineData("trip")]
    [InlineData("plain")]
    [InlineData("fork")]
    public void With_nothing_lost_all_ends_without_a_single_retry(string saga)
    {
        var found = Explore(Saga(saga), new ExplorerBounds { Duplicates = 0 }.WithoutRetries);
        found.Verdict.ShouldBe(ExplorerVerdict.Holds, found.ToString());
    }

    /// <summary>What HTTP participants in other languages rest on: the engine sends each attempt once.</summary>
    [Fact]
    public void Participants_that_tell_no_doubt_are_safe_while_nothing_is_delivered_twice() =>
        Explorer.Explore(SagaDefinition.Of(new Pair(), []), Calm with { Crashes = 1, Errors = true }, [], null, ExplorerMutant.DoubtUntold, null).Verdict.ShouldBe(ExplorerVerdict.Holds);

    /// <summary>The large ones: by hand, since they take a minute.</summary>
    [Theory(Explicit = true)]
    [InlineData("pair", "duplicate drop busy errors")]
    [InlineData("trip", "crash duplicate drop errors cancel")]
    public void Every_order_of_more_events_and_faults_keeps_the_promises(string saga, string faults) =>
        Explore(Saga(saga), Bounds(faults)).Verdict.ShouldBe(ExplorerVerdict.Holds);

    /// <summary>Twins that change places make no other world: with them told apart the same is found, in six times the states.</summary>
    [Fact]
    public void Twins_are_one_and_nothing_is_missed_by_it()
    {
        EffectInvariant toldApart = new("Nothing.", _ => true);
        var trio = SagaDefinition.Of(new Trio(), []);
        var (one, all) = (Explorer.Explore(trio, Bounds("cancel")), Explorer.Explore(trio, Bounds("cancel"), [toldApart]));
        one.Verdict.ShouldBe(all.Verdict);
        one.Depth.ShouldBe(all.Depth);
        (all.States / (double)one.States).ShouldBeInRange(4.5, 6);
        foreach (var mutant in new[] { ExplorerMutant.NoEmptyCancel, ExplorerMutant.LateTryThrough })
        {
            var (found, apart) = (Explorer.Explore(trio, Bounds("cancel"), [], null, mutant, null), Explorer.Explore(trio, Bounds("cancel"), [toldApart], null, mutant, null));
            found.Depth.ShouldBe(apart.Depth);
            found.Violation![..2].ShouldBe(apart.Violation![..2]);
            // Names and all: the story is the saga's own, whatever the explorer has moved about.
            new Story(new Trio()).Tell(string.Join('\n', found.Counterexample.Select(line => line.Text).Where(line => !line.StartsWith('#'))));
            found.Counterexample[^1].Text.ShouldBe($"# ! {found.Violation}");
        }
    }

    [Fact]
    public void A_promise_of_the_users_own_is_checked_in_every_state()
    {
        EffectInvariant together = new("The room is never confirmed before the seat.", effect => effect("room") != StepEffect.Confirmed || effect("seat") == StepEffect.Confirmed);
        var found = Explorer.Explore(SagaDefinition.Of(new Pair(), []), Calm, [together]);
        found.Violation.ShouldBe(together.Name);
        EffectInvariant never = new("Nothing is confirmed and undone both.", effect => !(effect("room") == StepEffect.Confirmed && effect("seat") == StepEffect.Undone));
        Explorer.Explore(SagaDefinition.Of(new Pair(), []), Calm, [never]).Verdict.ShouldBe(ExplorerVerdict.Holds);
    }

    [Fact]
    public void A_search_that_is_stopped_has_no_verdict()
    {
        Explorer.Explore(SagaDefinition.Of(new Trip(), []), stop: () => true).Verdict.ShouldBe(ExplorerVerdict.Bounded);
        Explorer.Explore(SagaDefinition.Of(new Trip(), []), new ExplorerBounds { MaxStates = 1000 }).Verdict.ShouldBe(ExplorerVerdict.Bounded);
    }

    [Fact]
    public void A_counterexample_is_a_story_that_a_test_can_tell()
    {
        var found = Explorer.Explore(SagaDefinition.Of(new Pair(), []), Calm with { Cancel = true },
            [new("The seat is never given back.", effect => effect("seat") != StepEffect.Undone)]);
        var story = string.Join('\n', found.Counterexample.Select(line => line.Text).Where(line => !line.StartsWith('#')));
        story.ShouldStartWith("start → try seat, try room");
        new Story(new Pair()).Tell(story);
    }

    // ── Engines that are broken on purpose ──────────────────────────────────────────────────────────────────────────────

    /// <summary>How a broken engine is found out, after so many states; null: it is not.</summary>
    internal static (long States, string Violation)? Catch(string saga, string faults, ExplorerMutant world, Func<SagaDefinition, SagaState, SagaEvent, DateTimeOffset, Decision>? decide)
    {
        var bounds = Bounds(faults);
        var found = Explorer.Explore(SagaDefinition.Of(Saga(saga), []), bounds, [], null, world, decide);
        if (found.Verdict != ExplorerVerdict.Violated && bounds is { Drops: 0, Takeovers: 0, Errors: false })
            found = Explorer.Explore(SagaDefinition.Of(Saga(saga), []), bounds.WithoutRetries, [], null, world, decide);
        return found.Verdict == ExplorerVerdict.Violated ? (found.States, found.Violation!) : null;
    }

    internal static IEnumerable<(string Name, string Saga, string Faults, ExplorerMutant World, Func<SagaDefinition, SagaState, SagaEvent, DateTimeOffset, Decision>? Decide)> Mutants()
    {
        yield return ("commands leave before the commit that names them", "pair", "crash cancel", ExplorerMutant.DispatchBeforeCommit, null);
        yield return ("after a crash nothing is asked again", "pair", "crash", ExplorerMutant.ForgetInFlight, null);
        yield return ("a commit is taken whatever version is stored", "pair", "takeover cancel", ExplorerMutant.NoVersionCheck, null);
        yield return ("a cancel that came before its try leaves no mark", "pair", "cancel", ExplorerMutant.NoEmptyCancel, null);
        yield return ("a try that comes after its cancel gets through", "pair", "cancel", ExplorerMutant.LateTryThrough, null);
        yield return ("a timeout counts as a refusal", "pair", "", ExplorerMutant.None, (saga, state, happened, now) => happened is SagaEvent.AttemptTimedOut late && late.Phase is Phase.Try
            ? Decider.Decide(saga, state, new SagaEvent.Replied(late.Step, late.Phase, late.Attempt, Outcome.Refused), now) : Decider.Decide(saga, state, happened, now));
        yield return ("an attempt that went unheard is forgotten", "pair", "errors", ExplorerMutant.DoubtUntold, (saga, state, happened, now) =>
            Decider.Decide(saga, state.Ended ? state : state with { Steps = [.. state.Steps.Select(step => step with { Unknown = false })] }, happened, now));
        yield return ("a refusal does not say that it is in doubt", "pair", "duplicate errors", ExplorerMutant.DoubtUntold, null);
        yield return ("a refusal is clean though the same command came before", "pair", "duplicate errors", ExplorerMutant.None, (saga, state, happened, now) =>
            Decider.Decide(saga, state, happened is SagaEvent.Replied reply ? reply with { InDoubt = false } : happened, now));
        yield return ("what was in flight is not undone", "pair", "cancel", ExplorerMutant.None, (saga, state, happened, now) => Mend(state, Decider.Decide(saga, state, happened, now), (was, step, i) =>
            step.Status == StepStatus.Cancelling && was.Status == StepStatus.Trying ? step with { Status = StepStatus.Refused, InFlight = false, Due = null } : step));
        yield return ("a compensation is skipped when the do's reply was lost", "plain", "cancel", ExplorerMutant.None, (saga, state, happened, now) => Mend(state, Decider.Decide(saga, state, happened, now), (was, step, i) =>
            step.Status == StepStatus.Compensating && was.Status == StepStatus.Doing ? step with { Status = StepStatus.Compensated, InFlight = false, Due = null } : step));
        yield return ("steps are cancelled all at once, in no order", "row", "cancel", ExplorerMutant.None, (saga, state, happened, now) => SendAll(saga, Decider.Decide(saga, state, happened, now), SagaStatus.Compensating, StepStatus.Tried, StepStatus.Cancelling, Phase.Cancel));
        yield return ("steps are cancelled in the order in which they were tried", "row", "cancel", ExplorerMutant.None, (saga, state, happened, now) =>
        {
            var decision = Decider.Decide(saga, state, happened, now);
            var last = decision.State.Steps.Select((step, i) => (step, i)).LastOrDefault(one => one.step.Status == StepStatus.Cancelling && state.Steps[one.i].Status == StepStatus.Tried).i;
            if (decision.State.Course != SagaStatus.Compensating || last == 0 || decision.State.Steps[0].Status != StepStatus.Tried) return decision;
            var first = decision with { State = decision.State with { Steps = decision.State.Steps.SetItem(last, state.Steps[last]) }, Effects = [] };
            return SendAll(saga, first with { State = first.State with { Steps = first.State.Steps.SetItem(0, state.Steps[0]) } }, SagaStatus.Compensating, StepStatus.Tried, StepStatus.Cancelling, Phase.Cancel, only: 0);
        });
        yield return ("confirms leave when the last try is sent", "row", "", ExplorerMutant.None, (saga, state, happened, now) =>
        {
            var decision = Decider.Decide(saga, state, happened, now);
            if (decision.State.Course != SagaStatus.Running || !decision.State.Steps.All(step => step.Status is StepStatus.Trying or StepStatus.Tried)) return decision;
            return SendAll(saga, decision with { State = decision.State with { Course = SagaStatus.Confirming, CommittedAt = now } }, SagaStatus.Confirming, StepStatus.Tried, StepStatus.Confirming, Phase.Confirm);
        });
        yield return ("a saga that has ended undone confirms on a late success", "pair", "duplicate cancel", ExplorerMutant.None, (saga, state, happened, now) =>
            happened is SagaEvent.Replied { Phase: Phase.Try, Outcome: Outcome.Ok } && state is { Ended: true, Course: SagaStatus.Compensated }
                ? SendAll(saga, new Decision(state with { Course = SagaStatus.Confirming, FinishedAt = null }, [], []), SagaStatus.Confirming, StepStatus.Cancelled, StepStatus.Confirming, Phase.Confirm)
                : Decider.Decide(saga, state, happened, now));
        yield return ("the first success is taken for all", "pair", "", ExplorerMutant.None, (saga, state, happened, now) =>
        {
            var decision = Decider.Decide(saga, state, happened, now);
            if (state.Course != SagaStatus.Running || decision.State.Course != SagaStatus.Running || !decision.State.Steps.Any(step => step.Status == StepStatus.Tried)) return decision;
            return SendAll(saga, decision with { State = decision.State with { Course = SagaStatus.Confirming, CommittedAt = now } }, SagaStatus.Confirming, StepStatus.Tried, StepStatus.Confirming, Phase.Confirm);
        });
        yield return ("an operator may cancel past the commit point", "pair", "cancel", ExplorerMutant.None, (saga, state, happened, now) => happened is SagaEvent.CancelRequested && state.Course == SagaStatus.Confirming
            ? SendAll(saga, new Decision(state with { Course = SagaStatus.Compensating, CommittedAt = null }, [], []), SagaStatus.Compensating, StepStatus.Confirming, StepStatus.Cancelling, Phase.Cancel)
            : Decider.Decide(saga, state, happened, now));
        yield return ("the pivot is given up like any other step", "trip", "", ExplorerMutant.None, (saga, state, happened, now) =>
            happened is SagaEvent.AttemptTimedOut { Step: "capture" } late && state.Steps[3].Failures > 0
                ? Decider.Decide(saga, state, new SagaEvent.Replied("capture", Phase.Do, late.Attempt, Outcome.Refused), now) : Decider.Decide(saga, state, happened, now));
        yield return ("a failed attempt has no time at which it is asked again", "pair", "", ExplorerMutant.None, (saga, state, happened, now) => Mend(state, Decider.Decide(saga, state, happened, now), (was, step, i) =>
            step is { InFlight: false, Phase: Phase.Confirm } ? step with { Due = null } : step));
        yield return ("the last command of a decision is forgotten", "pair", "cancel", ExplorerMutant.None, (saga, state, happened, now) =>
            Decider.Decide(saga, state, happened, now) is { Effects.Length: > 1 } decision ? decision with { Effects = decision.Effects[..^1] } : Decider.Decide(saga, state, happened, now));
        yield return ("an ended saga hears once more", "pair", "duplicate", ExplorerMutant.None, (saga, state, happened, now) => happened is SagaEvent.Replied && state.Ended
            ? new Decision(state with { Course = SagaStatus.Running, FinishedAt = null }, [], []) : Decider.Decide(saga, state, happened, now));
        yield return ("a success of the undoing counts for the whole saga", "row", "cancel", ExplorerMutant.None, (saga, state, happened, now) => Decider.Decide(saga, state, happened, now) is var decision
            && happened is SagaEvent.Replied { Phase: Phase.Cancel, Outcome: Outcome.Ok } && !ReferenceEquals(decision.State, state)
                ? decision with { State = decision.State with { Course = SagaStatus.Compensated }, Effects = [] } : decision);
        yield return ("a refusal is not told from a success", "pair", "", ExplorerMutant.None, (saga, state, happened, now) => Decider.Decide(saga, state,
            happened is SagaEvent.Replied { Phase: Phase.Try, Outcome: Outcome.Refused } reply ? reply with { Outcome = Outcome.Ok } : happened, now));
    }

    private static Decision Mend(SagaState before, Decision decision, Func<StepState, StepState, int, StepState> mend)
    {
        if (ReferenceEquals(before, decision.State)) return decision;
        var steps = decision.State.Steps.Select((step, i) => mend(before.Steps[i], step, i)).ToImmutableArray();
        // What was taken out of the state is not sent either.
        var sends = decision.Effects.OfType<Effect.Send>().Where(send => steps.Zip(decision.State.Steps).All(pair => pair.First.Status == pair.Second.Status || send.Phase is not (Phase.Cancel or Phase.Compensate))).ToArray<Effect>();
        return decision with { State = decision.State with { Steps = steps }, Effects = [.. sends] };
    }

    private static Decision SendAll(SagaDefinition saga, Decision decision, SagaStatus course, StepStatus from, StepStatus to, Phase phase, int? only = null)
    {
        if (decision.State.Course != course) return decision;
        var effects = decision.Effects.ToBuilder();
        var steps = decision.State.Steps.ToBuilder();
        for (var i = 0; i < steps.Count; i++)
        {
            if (steps[i].Status != from || (only ?? i) != i) continue;
            steps[i] = steps[i] with { Status = to, Attempt = 1, InFlight = true, Due = DateTimeOffset.UnixEpoch };
            effects.Add(new Effect.Send(saga.Steps[i].Name, saga.Steps[i].EndpointOf(phase)!, phase, 1, Payload.Null, DateTimeOffset.UnixEpoch));
        }
        return decision with { State = decision.State with { Steps = steps.ToImmutable() }, Effects = effects.ToImmutable() };
    }

    // ── The language of the tests ───────────────────────────────────────────────────────────────────────────────────────

    private static Saga Saga(string name) => name switch { "pair" => new Pair(), "row" => new Row(), "trio" => new Trio(), "trip" => new Trip(), "plain" => new Plain(), _ => new Fork() };

    private static ExplorerBounds Bounds(string faults) => Calm with
    {
        Crashes = faults.Contains("crash", StringComparison.Ordinal) ? 1 : 0,
        Duplicates = faults.Contains("duplicate", StringComparison.Ordinal) ? 1 : 0,
        Drops = faults.Contains("drop", StringComparison.Ordinal) ? 1 : 0,
        Takeovers = faults.Contains("takeover", StringComparison.Ordinal) ? 1 : 0,
        Pauses = faults.Contains("pause", StringComparison.Ordinal) ? 1 : 0,
        Cancel = faults.Contains("cancel", StringComparison.Ordinal),
        Errors = faults.Contains("errors", StringComparison.Ordinal),
        Busy = faults.Contains("busy", StringComparison.Ordinal),
    };

    private Exploration Explore(Saga saga, ExplorerBounds bounds)
    {
        var begun = Work();
        var found = Explorer.Explore(SagaDefinition.Of(saga, []), bounds);
        var seconds = (Work() - begun).TotalSeconds;
        output.WriteLine($"{found} ({seconds:0.0} s, {found.States / seconds:N0} states/s)");
        seconds.ShouldBeLessThan(30, "what a team runs before each change must not take longer");
        return found;
    }

    /// <summary>How long this thread has worked, so that other tests beside it do not count; where the system does not say, the time.</summary>
    private static TimeSpan Work() => File.Exists("/proc/thread-self/schedstat") && File.ReadAllText("/proc/thread-self/schedstat") is var nanoseconds
        ? TimeSpan.FromTicks(long.Parse(nanoseconds.AsSpan(0, nanoseconds.IndexOf(' ')), CultureInfo.InvariantCulture) / 100) : Stopwatch.GetElapsedTime(0);
}

using Sagas.Participants;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Participants;

/// <summary>Every row of the barrier's table, on every store.</summary>
public abstract class BarrierContract
{
    private protected abstract Task<Desk> OpenAsync();

    private static Func<CommandContext, CancellationToken, Task<Seat>> Fails(Exception e) => (_, _) => Task.FromException<Seat>(e);

    [Fact]
    public async Task A_try_reserves_and_a_repeat_gets_the_same_reply()
    {
        await using var desk = await OpenAsync();
        (await desk.TryAsync()).ShouldBeOk("""{"id":"12A"}""", Phase.Try);
        var repeat = await desk.TryAsync(attempt: 2);
        repeat.ShouldBeOk("""{"id":"12A"}""");
        repeat.Attempt.ShouldBe(2);
        desk.ShouldHaveCalled("try LH1");
    }

    [Fact]
    public async Task A_refusal_is_remembered_and_its_cancel_has_nothing_to_do()
    {
        await using var desk = await OpenAsync();
        desk.Agent.Try = Fails(new RefusedException("sold-out", "No seat is left."));
        (await desk.TryAsync()).ShouldBe(Outcome.Refused, "sold-out");
        (await desk.TryAsync(attempt: 2)).ShouldBe(Outcome.Refused, "sold-out");
        (await desk.CancelAsync()).ShouldBeOk();
        (await desk.ConfirmAsync()).ShouldBe(Outcome.Error, "not-tried");
        desk.ShouldHaveCalled("try LH1");
    }

    [Fact]
    public async Task A_refusal_or_a_busy_after_a_run_without_an_answer_is_in_doubt_however_often_it_is_repeated()
    {
        await using var desk = await OpenAsync();
        desk.Agent.Try = Fails(new BusyException(TimeSpan.FromSeconds(3)));
        (await desk.TryAsync()).InDoubt.ShouldBeFalse("nothing was begun before");
        (await desk.TryAsync()).InDoubt.ShouldBeFalse("a busy leaves nothing");
        desk.Agent.Try = Fails(new TimeoutException("The database is slow."));
        (await desk.TryAsync()).Outcome.ShouldBe(Outcome.Error);
        desk.Agent.Try = Fails(new BusyException(TimeSpan.FromSeconds(3)));
        (await desk.TryAsync()).InDoubt.ShouldBeTrue("what the slow database did is unknown");
        desk.Agent.Try = Fails(new RefusedException("sold-out", "No seat is left."));
        for (var i = 0; i < 3; i++)
        {
            var refused = await desk.TryAsync();
            refused.ShouldBe(Outcome.Refused, "sold-out");
            refused.InDoubt.ShouldBeTrue();
        }
        (await desk.CancelAsync()).ShouldBeOk();
        desk.Agent.Calls.ShouldContain(call => call.StartsWith("cancel"));
    }

    [Fact]
    public async Task A_refusal_after_a_busy_leaves_no_doubt()
    {
        await using var desk = await OpenAsync();
        desk.Agent.Try = Fails(new BusyException(TimeSpan.FromSeconds(3)));
        (await desk.TryAsync()).Outcome.ShouldBe(Outcome.Busy);
        desk.Agent.Try = Fails(new RefusedException("sold-out", "No seat is left."));
        (await desk.TryAsync(attempt: 2)).InDoubt.ShouldBeFalse();
        (await desk.CancelAsync()).ShouldBeOk();
        desk.ShouldHaveCalled("try LH1", "try LH1");
    }

    [Fact]
    public async Task An_error_is_not_remembered()
    {
        await using var desk = await OpenAsync();
        desk.Agent.Try = Fails(new TimeoutException("The database is slow."));
        var error = await desk.TryAsync();
        error.ShouldBe(Outcome.Error, "TimeoutException");
        error.Message.ShouldBe("The database is slow.");
        desk.Agent.Try = (_, _) => Task.FromResult(new Seat("12A"));
        (await desk.TryAsync(attempt: 2)).ShouldBeOk();
        desk.ShouldHaveCalled("try LH1", "try LH1");
    }

    [Fact]
    public async Task Busy_says_when_to_ask_again_and_is_not_remembered()
    {
        await using var desk = await OpenAsync();
        desk.Agent.Try = Fails(new BusyException(TimeSpan.FromSeconds(3)));
        var busy = await desk.TryAsync();
        busy.Outcome.ShouldBe(Outcome.Busy);
        busy.RetryAfter.ShouldBe(TimeSpan.FromSeconds(3));
        desk.Agent.Try = (_, _) => Task.FromResult(new Seat("12A"));
        (await desk.TryAsync(attempt: 2)).ShouldBeOk();
    }

    [Fact]
    public async Task Cancel_before_try_blocks_the_late_try()
    {
        await using var desk = await OpenAsync();
        (await desk.CancelAsync()).ShouldBeOk();
        (await desk.CancelAsync()).ShouldBeOk();
        for (var i = 1; i <= 3; i++) (await desk.TryAsync(i)).ShouldBe(Outcome.Refused, "cancelled");
        (await desk.ConfirmAsync()).ShouldBe(Outcome.Error, "already-cancelled");
        (await desk.CancelAsync()).ShouldBeOk();
        desk.ShouldHaveCalled();
    }

    [Fact]
    public async Task Confirm_gets_the_reservation_once()
    {
        await using var desk = await OpenAsync();
        await desk.TryAsync();
        (await desk.ConfirmAsync()).ShouldBeOk();
        (await desk.ConfirmAsync()).ShouldBeOk();
        (await desk.TryAsync(attempt: 2)).ShouldBeOk("""{"id":"12A"}""");
        desk.ShouldHaveCalled("try LH1", "confirm LH1 12A");
    }

    [Fact]
    public async Task Confirm_without_try_has_no_effect()
    {
        await using var desk = await OpenAsync();
        (await desk.ConfirmAsync()).ShouldBe(Outcome.Error, "not-tried");
        desk.ShouldHaveCalled();
    }

    [Fact]
    public async Task Confirm_of_a_try_that_failed_has_no_effect()
    {
        await using var desk = await OpenAsync();
        desk.Agent.Try = Fails(new TimeoutException());
        await desk.TryAsync();
        (await desk.ConfirmAsync()).ShouldBe(Outcome.Error, "not-tried");
        desk.ShouldHaveCalled("try LH1");
    }

    [Fact]
    public async Task Cancel_gives_back_what_the_try_reserved_even_if_the_engine_never_heard_of_it()
    {
        await using var desk = await OpenAsync();
        await desk.TryAsync();
        (await desk.CancelAsync(result: "null")).ShouldBeOk();
        (await desk.CancelAsync()).ShouldBeOk();
        desk.ShouldHaveCalled("try LH1", "cancel LH1 12A");
    }

    [Fact]
    public async Task Cancel_after_a_try_that_failed_looks_for_what_it_left()
    {
        await using var desk = await OpenAsync();
        desk.Agent.Try = Fails(new TimeoutException());
        await desk.TryAsync();
        (await desk.CancelAsync()).ShouldBeOk();
        (await desk.TryAsync(attempt: 2)).ShouldBe(Outcome.Refused, "cancelled");
        desk.ShouldHaveCalled("try LH1", "cancel LH1 unknown");
    }

    [Fact]
    public async Task Cancel_after_an_error_and_then_a_refusal_looks_for_what_the_error_left()
    {
        await using var desk = await OpenAsync();
        desk.Agent.Try = Fails(new TimeoutException());
        await desk.TryAsync();
        desk.Agent.Try = Fails(new RefusedException("sold-out", "No seat is left."));
        (await desk.TryAsync(attempt: 2)).ShouldBe(Outcome.Refused, "sold-out");
        (await desk.CancelAsync()).ShouldBeOk();
        desk.ShouldHaveCalled("try LH1", "try LH1", "cancel LH1 unknown");
    }

    [Fact]
    public async Task Confirm_and_cancel_exclude_each_other()
    {
        await using var desk = await OpenAsync();
        await desk.TryAsync();
        await desk.ConfirmAsync();
        (await desk.CancelAsync()).ShouldBe(Outcome.Error, "already-confirmed");
        desk.ShouldHaveCalled("try LH1", "confirm LH1 12A");

        await using var other = await OpenAsync();
        await other.TryAsync();
        await other.CancelAsync();
        (await other.ConfirmAsync()).ShouldBe(Outcome.Error, "already-cancelled");
        other.ShouldHaveCalled("try LH1", "cancel LH1 12A");
    }

    [Fact]
    public async Task A_second_phase_that_failed_or_was_refused_is_asked_anew_and_keeps_the_other_one_out()
    {
        await using var desk = await OpenAsync();
        await desk.TryAsync();
        desk.Agent.Confirm = _ => Task.FromException(new TimeoutException());
        (await desk.ConfirmAsync()).ShouldBe(Outcome.Error, "TimeoutException");
        (await desk.CancelAsync()).ShouldBe(Outcome.Error, "already-confirmed");
        desk.Agent.Confirm = _ => Task.FromException(new RefusedException("expired", "The reservation is gone."));
        (await desk.ConfirmAsync()).ShouldBe(Outcome.Refused, "expired");
        desk.Agent.Confirm = _ => Task.CompletedTask;
        (await desk.ConfirmAsync()).ShouldBeOk();
        desk.ShouldHaveCalled("try LH1", "confirm LH1 12A", "confirm LH1 12A", "confirm LH1 12A");
    }

    [Fact]
    public async Task A_payload_that_does_not_fit_is_refused_in_the_first_phase_and_an_error_in_the_second()
    {
        await using var desk = await OpenAsync();
        (await desk.AskAsync(Phase.Try, "reserve-seat", "[1]")).ShouldBe(Outcome.Refused, "bad-command");
        (await desk.AskAsync(Phase.Check, "can-hold", "null")).ShouldBe(Outcome.Refused, "bad-command");
        (await desk.AskAsync(Phase.Try, "reserve-seat", """{"flight":"LH1"}""", saga: "s2")).ShouldBeOk();
        (await desk.AskAsync(Phase.Confirm, "reserve-seat", """{"result":null}""", saga: "s2")).ShouldBe(Outcome.Error, "bad-command");
        (await desk.AskAsync(Phase.Cancel, "reserve-seat", """{"command":{"flight":"LH1"},"result":7}""", saga: "s3")).ShouldBeOk();
    }

    [Fact]
    public async Task A_check_passes_by_the_barrier()
    {
        await using var desk = await OpenAsync();
        (await desk.AskAsync(Phase.Check, "can-hold", """{"amount":7}""")).ShouldBeOk("true");
        (await desk.AskAsync(Phase.Check, "can-hold", """{"amount":7}""")).ShouldBeOk("true");
        (await desk.DoAsync()).ShouldBeOk();
        desk.ShouldHaveCalled("can 7", "can 7", "hold 7");
    }

    [Fact]
    public async Task A_do_is_done_once_and_compensated_once()
    {
        await using var desk = await OpenAsync();
        (await desk.DoAsync()).ShouldBeOk("""{"id":"h1"}""");
        (await desk.DoAsync(attempt: 2)).ShouldBeOk("""{"id":"h1"}""");
        (await desk.CompensateAsync()).ShouldBeOk("null");
        (await desk.CompensateAsync()).ShouldBeOk("null");
        desk.ShouldHaveCalled("hold 7", "release h1");
    }

    [Fact]
    public async Task Compensate_before_do_blocks_the_late_do()
    {
        await using var desk = await OpenAsync();
        (await desk.CompensateAsync()).ShouldBeOk();
        (await desk.DoAsync()).ShouldBe(Outcome.Refused, "cancelled");
        (await desk.DoAsync(attempt: 2)).ShouldBe(Outcome.Refused, "cancelled");
        desk.ShouldHaveCalled();
    }

    [Fact]
    public async Task Compensate_of_a_refused_do_has_nothing_to_undo()
    {
        await using var desk = await OpenAsync();
        desk.Agent.Do = _ => Task.FromException<Hold>(new RefusedException("no-money", "Too little."));
        (await desk.DoAsync()).ShouldBe(Outcome.Refused, "no-money");
        (await desk.CompensateAsync()).ShouldBeOk();
        (await desk.CompensateAsync("null")).ShouldBeOk(phase: Phase.Compensate);
        desk.ShouldHaveCalled("hold 7");
    }

    [Fact]
    public async Task Compensate_of_a_do_that_failed_calls_the_handler()
    {
        await using var desk = await OpenAsync();
        desk.Agent.Do = _ => Task.FromException<Hold>(new TimeoutException());
        (await desk.DoAsync()).ShouldBe(Outcome.Error, "TimeoutException");
        (await desk.CompensateAsync()).ShouldBeOk();
        (await desk.DoAsync(attempt: 2)).ShouldBe(Outcome.Refused, "cancelled");
        desk.ShouldHaveCalled("hold 7", "release h1");
    }

    [Fact]
    public async Task Compensate_for_want_of_the_result_learns_it_from_the_barrier()
    {
        await using var desk = await OpenAsync();
        await desk.DoAsync();
        (await desk.CompensateAsync("null")).ShouldBeOk("""{"id":"h1"}""", Phase.Do);
        (await desk.CompensateAsync("""{"id":"h1"}""")).ShouldBeOk(phase: Phase.Compensate);
        (await desk.CompensateAsync("null")).ShouldBeOk(phase: Phase.Compensate);
        desk.ShouldHaveCalled("hold 7", "release h1");
    }

    [Fact]
    public async Task Compensate_for_want_of_the_result_of_a_do_that_never_came_fences_it()
    {
        await using var desk = await OpenAsync();
        (await desk.CompensateAsync("null")).ShouldBeOk(phase: Phase.Compensate);
        (await desk.DoAsync()).ShouldBe(Outcome.Refused, "cancelled");
        desk.ShouldHaveCalled();
    }

    [Fact]
    public async Task Compensate_for_want_of_the_result_asks_a_do_of_unknown_outcome_again_under_its_key()
    {
        await using var desk = await OpenAsync();
        var keys = new List<string>();
        desk.Agent.Do = context =>
        {
            keys.Add(context.Key);
            return Task.FromException<Hold>(new TimeoutException());
        };
        await desk.DoAsync();
        var unknown = await desk.CompensateAsync("null");
        unknown.ShouldBe(Outcome.Error, "TimeoutException");
        unknown.Phase.ShouldBe(Phase.Compensate);
        desk.Agent.Do = context =>
        {
            keys.Add(context.Key);
            return Task.FromResult(new Hold("h9"));
        };
        (await desk.CompensateAsync("null")).ShouldBeOk("""{"id":"h9"}""", Phase.Do);
        (await desk.CompensateAsync("""{"id":"h9"}""")).ShouldBeOk(phase: Phase.Compensate);
        keys.ShouldBe(["s1/money/do", "s1/money/do", "s1/money/do"]);
        desk.ShouldHaveCalled("hold 7", "hold 7", "hold 7", "release h9");
    }

    [Fact]
    public async Task Compensate_for_want_of_the_result_of_a_do_that_turns_out_refused_is_done()
    {
        await using var desk = await OpenAsync();
        desk.Agent.Do = _ => Task.FromException<Hold>(new TimeoutException());
        await desk.DoAsync();
        desk.Agent.Do = _ => Task.FromException<Hold>(new RefusedException("no-money", "Too little."));
        (await desk.CompensateAsync("null")).ShouldBeOk(phase: Phase.Compensate);
        (await desk.DoAsync(attempt: 2)).ShouldBe(Outcome.Refused, "no-money");
        desk.ShouldHaveCalled("hold 7", "hold 7");
    }

    [Fact]
    public async Task A_hundred_copies_of_a_try_call_the_handler_once_and_all_get_its_reply()
    {
        await using var desk = await OpenAsync();
        var answer = new TaskCompletionSource<Seat>(TaskCreationOptions.RunContinuationsAsynchronously);
        desk.Agent.Try = (_, _) => answer.Task;
        var asked = Enumerable.Range(1, 100).Select(desk.TryAsync).ToArray();
        answer.SetResult(new Seat("1C"));
        foreach (var reply in await Task.WhenAll(asked)) reply.ShouldBeOk("""{"id":"1C"}""");
        desk.ShouldHaveCalled("try LH1");
    }

    [Fact]
    public async Task A_cancel_that_comes_while_the_try_runs_waits_and_then_undoes_it()
    {
        await using var desk = await OpenAsync();
        var begun = new TaskCompletionSource();
        var answer = new TaskCompletionSource<Seat>(TaskCreationOptions.RunContinuationsAsynchronously);
        desk.Agent.Try = (_, _) =>
        {
            begun.SetResult();
            return answer.Task;
        };
        var trying = desk.TryAsync();
        await begun.Task;
        var cancelling = desk.CancelAsync();
        answer.SetResult(new Seat("12A"));
        (await trying).ShouldBeOk();
        (await cancelling).ShouldBeOk();
        desk.ShouldHaveCalled("try LH1", "cancel LH1 12A");
    }
}

public sealed class MemoryBarrierTests : BarrierContract
{
    private protected override Task<Desk> OpenAsync() => Desk.OpenAsync(p => p.UseMemoryBarrier());

    [Fact]
    public async Task Settled_rows_are_forgotten_after_the_retention_and_others_never()
    {
        var clock = new Clock();
        await using var barrier = new MemoryBarrier(TimeSpan.FromDays(7), clock);
        await barrier.WriteAsync(new BarrierRow("a", "seat") { Forward = BarrierForward.Ok, At = clock.Now }, default);
        await barrier.WriteAsync(new BarrierRow("b", "seat") { Second = Phase.Cancel, SecondDone = true, At = clock.Now }, default);
        await barrier.WriteAsync(new BarrierRow("c", "seat") { Forward = BarrierForward.Ok, IsDo = true, At = clock.Now }, default);
        clock.Now += TimeSpan.FromDays(6);
        await barrier.WriteAsync(new BarrierRow("c", "seat") { Forward = BarrierForward.Ok, IsDo = true, Second = Phase.Compensate, SecondDone = true, At = clock.Now }, default);
        clock.Now += TimeSpan.FromDays(2);
        await barrier.WriteAsync(new BarrierRow("d", "seat") { Forward = BarrierForward.Started, At = clock.Now }, default);
        (await barrier.FindAsync("a", "seat", default)).ShouldNotBeNull();
        (await barrier.FindAsync("b", "seat", default)).ShouldBeNull();
        (await barrier.FindAsync("c", "seat", default)).ShouldNotBeNull();
    }
}

internal sealed class Clock : TimeProvider
{
    public DateTimeOffset Now { get; set; } = new(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);

    public override DateTimeOffset GetUtcNow() => Now;
}

using Sagas.Runtime;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Runtime;

public class EngineTests
{
    [Fact]
    public async Task A_parallel_tcc_saga_takes_three_commits_however_many_replies_it_hears()
    {
        await using var stage = await Stage.OpenAsync();
        (await stage.StartAsync("pair", "p1")).Outcome.ShouldBe(StartOutcome.Started);
        var tries = await stage.Bus.NextAsync(2);
        await stage.ReplyAsync(tries["seat"]);
        await stage.ReplyAsync(tries["room"]);
        var confirms = await stage.Bus.NextAsync(2);
        await stage.ReplyAsync(confirms["seat"]);
        await stage.ReplyAsync(confirms["room"]);
        (await stage.EndOfAsync("p1")).Status.ShouldBe(SagaStatus.Completed);
        stage.Store.Commits.Count.ShouldBe(3);
        var history = (await stage.Engine.HistoryAsync(new SagaId("p1"), 0, 100))!;
        history.Select(h => h.Seq).ShouldBe(Enumerable.Range(1, history.Count));
        history.Select(h => h.Event).ShouldBe(["started", "sent", "sent", "replied", "replied", "committed", "sent", "sent", "replied", "replied", "completed"]);
    }

    [Fact]
    public async Task No_command_leaves_and_no_start_is_answered_before_the_commit_is_durable()
    {
        await using var stage = await Stage.OpenAsync();
        stage.Store.Blocked = new TaskCompletionSource();
        var start = stage.StartAsync("pair", "p1").AsTask();
        await stage.Store.Waiting.Task;
        start.IsCompleted.ShouldBeFalse();
        stage.Bus.IsQuiet.ShouldBeTrue();
        (await stage.Engine.FindAsync(new SagaId("p1"))).ShouldBeNull();
        stage.Store.Blocked.SetResult();
        (await start).Outcome.ShouldBe(StartOutcome.Started);
        (await stage.Bus.NextAsync(2)).Count.ShouldBe(2);
    }

    [Fact]
    public async Task A_refusal_that_rests_on_a_decision_is_not_spoken_before_that_is_durable()
    {
        await using var stage = await Stage.OpenAsync(configure: o => o.Workers = 1);
        await stage.StartAsync("pair", "p1");
        await stage.Engine.RequestAsync(new SagaId("p1"), new SagaEvent.PauseRequested("wait", "ann"));
        stage.Store.Blocked = new TaskCompletionSource();
        stage.Store.Waiting = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var other = stage.StartAsync("pair", "other").AsTask();
        await stage.Store.Waiting.Task;
        // Both come into one batch: the first resumes, the second hears that there is nothing to resume. Then the disk fails, and nobody has resumed anything.
        var resumes = new[] { "ann", "ben" }.Select(by => stage.Engine.RequestAsync(new SagaId("p1"), new SagaEvent.ResumeRequested("go on", by)).AsTask()).ToArray();
        var blocked = stage.Store.Blocked;
        stage.Store.Blocked = null;
        stage.Store.FailNext(after: 1);
        blocked.SetResult();
        await other;
        foreach (var resume in resumes) await Should.ThrowAsync<StoreUnavailableException>(resume);
        (await stage.SagaAsync("p1")).Paused.ShouldBeTrue();
    }

    [Fact]
    public async Task What_waits_while_a_commit_is_on_its_way_goes_into_the_next_one_together()
    {
        await using var stage = await Stage.OpenAsync(configure: o => o.Workers = 1);
        stage.Store.Blocked = new TaskCompletionSource();
        var first = stage.StartAsync("pair", "p0").AsTask();
        await stage.Store.Waiting.Task;
        var more = Enumerable.Range(1, 100).Select(i => stage.StartAsync("pair", $"p{i}").AsTask()).ToArray();
        stage.Store.Blocked.SetResult();
        await Task.WhenAll([first, .. more]);
        stage.Store.Calls.ShouldBe(2);
        stage.Store.Commits.Count.ShouldBe(101);
    }

    [Fact]
    public async Task A_reply_that_causes_no_command_is_written_with_the_flush()
    {
        await using var stage = await Stage.OpenAsync(configure: o => o.Workers = 1);
        await stage.StartAsync("pair", "p1");
        var tries = await stage.Bus.NextAsync(2);
        await stage.ReplyAsync(tries["seat"]);
        await stage.StartAsync("pair", "other");
        (await stage.SagaAsync("p1")).Steps[0].Status.ShouldBe(StepStatus.Trying, "what is shown is what is durable");
        stage.Time.Advance(TimeSpan.FromMilliseconds(100));
        await stage.StartAsync("pair", "another");
        (await stage.SagaAsync("p1")).Steps[0].Status.ShouldBe(StepStatus.Tried);
    }

    [Fact]
    public async Task A_repeated_start_is_the_same_saga_and_another_input_is_refused()
    {
        await using var stage = await Stage.OpenAsync();
        var twins = await Task.WhenAll(stage.StartAsync("pair", "p1").AsTask(), stage.StartAsync("pair", "p1", """{ "name": "Ada" }""").AsTask());
        twins.Select(t => t.Outcome).ShouldBe([StartOutcome.Started, StartOutcome.Exists], ignoreOrder: true);
        (await stage.StartAsync("pair", "p1")).Outcome.ShouldBe(StartOutcome.Exists);
        (await stage.StartAsync("pair", "p1", """{"name":"Bob"}""")).Outcome.ShouldBe(StartOutcome.Differs);
        (await stage.StartAsync("row", "p1")).Outcome.ShouldBe(StartOutcome.Differs);
        await stage.Bus.NextAsync(2);
        stage.Bus.IsQuiet.ShouldBeTrue();
    }

    [Fact]
    public async Task A_start_under_the_id_of_a_finished_saga_answers_with_that_saga()
    {
        await using var stage = await Stage.OpenAsync();
        await stage.StartAsync("row", "r1");
        await stage.ReplyAsync(await stage.Bus.NextAsync(), Outcome.Refused);
        (await stage.EndOfAsync("r1")).Status.ShouldBe(SagaStatus.Compensated);
        var again = await stage.StartAsync("row", "r1");
        again.Outcome.ShouldBe(StartOutcome.Exists);
        again.Saga!.Status.ShouldBe(SagaStatus.Compensated);
        (await stage.StartAsync("row", "r1", """{"name":"Bob"}""")).Outcome.ShouldBe(StartOutcome.Differs);
        stage.Bus.IsQuiet.ShouldBeTrue();
    }

    [Fact]
    public async Task Bad_starts_are_answered_with_advice_and_store_nothing()
    {
        await using var stage = await Stage.OpenAsync();
        (await stage.StartAsync("nope", "x")).Outcome.ShouldBe(StartOutcome.UnknownDefinition);
        var bad = await stage.StartAsync("pair", "x", """{"nam":"Ada"}""");
        bad.Outcome.ShouldBe(StartOutcome.BadInput);
        bad.Problem!.ShouldContain("name");
        var wrong = await stage.StartAsync("pair", "x", """{"name":7}""");
        wrong.Path.ShouldBe("$.name");
        (await stage.StartAsync("pair", "x", $$"""{"name":"{{new string('x', Decider.MaxPayload)}}"}""")).Outcome.ShouldBe(StartOutcome.BadInput);
        stage.Store.Commits.ShouldBeEmpty();
    }

    [Fact]
    public async Task An_unanswered_attempt_is_asked_again_when_its_time_is_over()
    {
        await using var stage = await Stage.OpenAsync();
        await stage.StartAsync("row", "r1");
        (await stage.Bus.NextAsync()).Attempt.ShouldBe(1);
        await AdvanceUntilSentAsync(stage, TimeSpan.FromSeconds(20));
        var second = await stage.Bus.NextAsync();
        second.Attempt.ShouldBe(2);
        second.Key.ShouldBe("r1/seat/try");
    }

    [Fact]
    public async Task A_lost_commit_answers_nobody_and_the_saga_goes_on_once_the_store_answers()
    {
        await using var stage = await Stage.OpenAsync();
        stage.Store.FailBefore = true;
        await Should.ThrowAsync<StoreUnavailableException>(stage.StartAsync("row", "lost").AsTask());
        (await stage.Engine.FindAsync(new SagaId("lost"))).ShouldBeNull();

        stage.Store.FailAfter = true;
        await Should.ThrowAsync<StoreUnavailableException>(stage.StartAsync("row", "r1").AsTask());
        stage.Bus.IsQuiet.ShouldBeTrue("nothing may leave while the commit is in doubt");
        (await stage.StartAsync("row", "r1")).Outcome.ShouldBe(StartOutcome.Exists);
        (await stage.Bus.NextAsync()).Step.ShouldBe("seat", "what is acknowledged goes on");
    }

    [Fact]
    public async Task A_start_that_was_stored_and_not_answered_goes_on_whether_it_is_repeated_or_not()
    {
        await using var stage = await Stage.OpenAsync();
        stage.Store.FailAfter = true;
        await Should.ThrowAsync<StoreUnavailableException>(stage.StartAsync("row", "r1").AsTask());
        await AdvanceUntilSentAsync(stage, TimeSpan.FromSeconds(3));
        (await stage.Bus.NextAsync()).Saga.ShouldBe("r1");
        (await stage.StartAsync("row", "r1")).Outcome.ShouldBe(StartOutcome.Exists);
    }

    [Fact]
    public async Task A_commit_in_doubt_is_read_again_and_what_it_may_have_sent_is_sent()
    {
        await using var stage = await Stage.OpenAsync();
        await stage.StartAsync("row", "r1");
        var seat = await stage.Bus.NextAsync();
        stage.Store.FailAfter = true;
        await stage.ReplyAsync(seat);
        await AdvanceUntilSentAsync(stage, TimeSpan.FromSeconds(3));
        var room = await stage.Bus.NextAsync();
        (room.Step, room.Attempt).ShouldBe(("room", 2));

        stage.Store.FailBefore = true;
        await stage.ReplyAsync(room);
        await AdvanceUntilSentAsync(stage, TimeSpan.FromSeconds(30));
        (await stage.Bus.NextAsync()).Step.ShouldBe("room");
    }

    [Fact]
    public async Task However_long_the_store_is_away_a_saga_tries_it_again_once_a_second()
    {
        await using var stage = await Stage.OpenAsync();
        await stage.StartAsync("row", "r1");
        await stage.ReplyAsync(await stage.Bus.NextAsync());
        await stage.Bus.NextAsync();
        stage.Store.IsAway = true;
        await AdvanceUntilSentAsync(stage, TimeSpan.FromMinutes(2));
        stage.Bus.IsQuiet.ShouldBeTrue();
        stage.Store.Failed.ShouldBeInRange(60, 125);
        stage.Store.IsAway = false;
        await AdvanceUntilSentAsync(stage, TimeSpan.FromSeconds(3));
        (await stage.Bus.NextAsync()).Step.ShouldBe("room");
    }

    [Fact]
    public async Task When_another_node_commits_first_the_loser_sends_nothing_and_decides_again_on_what_is_stored()
    {
        var store = new MemoryStore();
        await using var one = await Stage.OpenAsync(store);
        await one.StartAsync("row", "r1");
        var seat = await one.Bus.NextAsync();
        await using var two = await Stage.OpenAsync(store);
        var again = await two.Bus.NextAsync();
        again.Attempt.ShouldBe(2);
        await two.ReplyAsync(again);
        (await two.Bus.NextAsync()).Step.ShouldBe("room");
        // Node one still acts on what it knew: its commit loses, its late reply is a repeat, and whether the room was asked it cannot know.
        await one.ReplyAsync(seat);
        var room = await one.Bus.NextAsync();
        (room.Step, room.Phase, room.Attempt).ShouldBe(("room", Phase.Try, 2));
        (await one.Engine.RequestAsync(new SagaId("r1"), new SagaEvent.CancelRequested("late", "ann"))).Outcome.ShouldBe(RequestOutcome.Accepted);
        var cancel = await one.Bus.NextAsync();
        (cancel.Step, cancel.Phase).ShouldBe(("room", Phase.Cancel));
    }

    [Fact]
    public async Task After_a_restart_what_was_in_flight_is_asked_again()
    {
        var store = new MemoryStore();
        var first = await Stage.OpenAsync(store);
        await first.StartAsync("pair", "p1");
        var tries = await first.Bus.NextAsync(2);
        await first.ReplyAsync(tries["seat"]);
        await first.Engine.StoppingAsync(CancellationToken.None);

        await using var second = await Stage.OpenAsync(store);
        var room = await second.Bus.NextAsync();
        (room.Step, room.Attempt).ShouldBe(("room", 2), "the drained reply of 'seat' was written on stopping");
        await second.ReplyAsync(room);
        (await second.Bus.NextAsync(2)).Values.ShouldAllBe(c => c.Phase == Phase.Confirm);
    }

    [Fact]
    public async Task A_full_engine_refuses_starts_and_still_hears_replies()
    {
        await using var stage = await Stage.OpenAsync(configure: o => { o.Workers = 1; o.MailboxSize = 16; });
        await stage.StartAsync("row", "r0");
        var seat = await stage.Bus.NextAsync();
        stage.Store.Blocked = new TaskCompletionSource();
        stage.Store.Waiting = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var starts = new List<Task<StartResult>> { stage.StartAsync("row", "r1").AsTask() };
        await stage.Store.Waiting.Task;
        starts.AddRange(Enumerable.Range(2, 20).Select(i => stage.StartAsync("row", $"r{i}").AsTask()));
        await stage.ReplyAsync(seat);
        stage.Store.Blocked.SetResult();
        stage.Store.Blocked = null;
        var outcomes = (await Task.WhenAll(starts)).Select(s => s.Outcome).ToArray();
        outcomes.Count(o => o == StartOutcome.Started).ShouldBe(17);
        outcomes.Count(o => o == StartOutcome.Busy).ShouldBe(4);
        while ((await stage.Bus.NextAsync()).Step != "room") { }
    }

    [Fact]
    public async Task Operators_are_answered_when_durable_refused_with_advice_or_told_that_there_is_no_such_saga()
    {
        await using var stage = await Stage.OpenAsync();
        await stage.StartAsync("pair", "p1");
        await stage.Bus.NextAsync(2);
        var cancelled = await stage.Engine.RequestAsync(new SagaId("p1"), new SagaEvent.CancelRequested("no", "ann"));
        cancelled.Outcome.ShouldBe(RequestOutcome.Accepted);
        cancelled.Saga!.Status.ShouldBe(SagaStatus.Compensating);
        foreach (var cancel in (await stage.Bus.NextAsync(2)).Values) await stage.ReplyAsync(cancel);
        await stage.EndOfAsync("p1");
        var late = await stage.Engine.RequestAsync(new SagaId("p1"), new SagaEvent.CancelRequested("no", "ann"));
        late.Outcome.ShouldBe(RequestOutcome.WrongState);
        late.Problem!.ShouldContain("ended as Compensated");
        (await stage.Engine.RequestAsync(new SagaId("nope"), new SagaEvent.RetryRequested("no", "ann"))).Outcome.ShouldBe(RequestOutcome.NotFound);
    }

    [Fact]
    public async Task A_wait_ends_with_the_saga_or_with_patience()
    {
        await using var stage = await Stage.OpenAsync();
        await stage.StartAsync("row", "r1");
        var wait = stage.Engine.WaitAsync(new SagaId("r1"), TimeSpan.FromSeconds(5)).AsTask();
        stage.Time.Advance(TimeSpan.FromSeconds(5));
        (await wait)!.Status.ShouldBe(SagaStatus.Running);
        var end = stage.EndOfAsync("r1");
        await stage.ReplyAsync(await stage.Bus.NextAsync(), Outcome.Refused);
        (await end).Status.ShouldBe(SagaStatus.Compensated);
        (await stage.Engine.WaitAsync(new SagaId("nope"), TimeSpan.FromSeconds(5))).ShouldBeNull();
    }

    [Fact]
    public async Task A_bus_that_is_down_holds_up_sending_and_not_committing()
    {
        await using var stage = await Stage.OpenAsync();
        stage.Bus.Blocked = new TaskCompletionSource();
        for (var i = 0; i < 300; i++) (await stage.StartAsync("row", $"r{i}")).Outcome.ShouldBe(StartOutcome.Started);
        stage.Bus.Blocked.SetResult();
        for (var i = 0; i < 300; i++) await stage.Bus.NextAsync();
        stage.Bus.Envelopes.ShouldBeInRange(2, 5, "what waited left in a few envelopes");
    }

    [Fact]
    public async Task A_send_that_failed_is_sent_again()
    {
        await using var stage = await Stage.OpenAsync();
        stage.Bus.Failures = 2;
        await stage.StartAsync("row", "r1");
        for (var failed = 1; failed <= 2; failed++) await stage.Time.PassNextTimerAsync(within: TimeSpan.FromSeconds(1));
        (await stage.Bus.NextAsync()).Attempt.ShouldBe(1);
    }

    [Fact]
    public async Task A_decision_that_breaks_an_invariant_parks_its_saga_and_no_other()
    {
        await using var stage = await Stage.OpenAsync();
        await stage.StartAsync("row", "sick");
        var seat = await stage.Bus.NextAsync();
        // A step that the definition does not know of cannot be in the state; a stored state that was tampered with is one way to get there.
        var broken = (await stage.SagaAsync("sick")) with { Steps = [], Version = 2 };
        await stage.Store.CommitAsync([new SagaCommit(broken, [])], CancellationToken.None);
        await stage.ReplyAsync(seat);
        await stage.StartAsync("row", "well");
        (await stage.Bus.NextAsync()).Saga.ShouldBe("well");
    }

    [Fact]
    public async Task Stats_count_starts_and_ends_of_the_last_minute()
    {
        await using var stage = await Stage.OpenAsync();
        await stage.StartAsync("row", "r1");
        await stage.StartAsync("row", "r2");
        stage.Time.Advance(TimeSpan.FromSeconds(2));
        await stage.ReplyAsync(await stage.Bus.NextAsync(), Outcome.Refused);
        await stage.EndOfAsync("r1");
        var stats = await stage.Engine.StatsAsync();
        stats.ByStatus[SagaStatus.Compensated].ShouldBe(1);
        stats.ByStatus[SagaStatus.Running].ShouldBe(1);
        stats.CompensatedPerSecond.ShouldBeGreaterThan(0);
        stats.P50.ShouldBeInRange(1900, 2100);
        stats.OldestUnfinishedAt.ShouldNotBeNull();
    }

    /// <summary>Moves the clock on, a little at a time, until a command has been sent.</summary>
    [Fact]
    public async Task A_saga_that_the_store_cannot_read_is_nobody_elses_trouble()
    {
        await using var stage = await Stage.OpenAsync(configure: o => o.Workers = 1);
        stage.Store.Unreadable = new SagaId("odd");
        (await Should.ThrowAsync<StoreUnavailableException>(stage.Engine.RequestAsync(new SagaId("odd"), new SagaEvent.RetryRequested("why", "ann")).AsTask())).Message.ShouldContain("no saga");
        (await stage.StartAsync("row", "r1")).Outcome.ShouldBe(StartOutcome.Started);
    }

    [Fact]
    public async Task An_operation_with_more_errors_than_the_store_takes_ends_with_the_first_of_them()
    {
        await using var stage = await Stage.OpenAsync();
        stage.Store.MostErrors = 10;
        for (var i = 0; i < 40; i++) await stage.StartAsync("row", $"r{i}");
        var begun = await stage.Engine.OperateAsync(OperationAction.Resume, new SagaFilter(), "none is paused", "ann");
        Operation? operation = null;
        await Eventually.TrueAsync(async () => (operation = await stage.Engine.FindOperationAsync(begun!.Id)) is { Status: OperationStatus.Done });
        (operation!.Failed, operation.Errors.Length).ShouldBe((40, 10));
    }

    private static async Task AdvanceUntilSentAsync(Stage stage, TimeSpan most)
    {
        for (var passed = TimeSpan.Zero; passed < most && stage.Bus.IsQuiet; passed += TimeSpan.FromMilliseconds(100))
        {
            stage.Time.Advance(TimeSpan.FromMilliseconds(100));
            // A request to a saga that is not there passes through the same mailboxes: when it is answered, what came before is done.
            for (var i = 0; i < 4; i++) await stage.Engine.RequestAsync(new SagaId($"nobody{i}"), new SagaEvent.RetryRequested("x", "x"));
            await Task.Yield();
        }
    }
}

using System.Collections.Immutable;
using Sagas.Runtime;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Runtime;

/// <summary>What every store keeps to.</summary>
public abstract class StoreContract : IAsyncDisposable
{
    private protected static readonly TimeSpan Keep = TimeSpan.FromDays(7);

    private protected StoppedClock Time { get; } = new(TestSagas.Noon);

    /// <summary>A new, open store.</summary>
    private protected abstract Task<ISagaStore> OpenAsync();

    /// <summary>Has the store forget what is too old, now.</summary>
    private protected abstract Task ForgetOldAsync(ISagaStore store);

    public abstract ValueTask DisposeAsync();

    [Fact]
    public async Task A_started_saga_is_found_as_it_was_committed()
    {
        var store = await OpenAsync();
        var start = TestSagas.Start("a", tags: ("customer", "c1"));
        (await store.CommitAsync(start)).ShouldBe(CommitOutcome.Committed);
        (await store.FindAsync(new SagaId("a"), default)).Text().ShouldBe(start.State.Text());
        (await store.FindAsync(new SagaId("b"), default)).ShouldBeNull();
        (await store.FindAsync(new SagaId("A"), default)).ShouldBeNull();
    }

    [Fact]
    public async Task Starting_an_id_twice_is_a_conflict()
    {
        var store = await OpenAsync();
        var start = await store.MustCommitAsync(TestSagas.Start("a"));
        (await store.CommitAsync(TestSagas.Start("a", "other"))).ShouldBe(CommitOutcome.Conflict);
        await store.MustCommitAsync(start.End());
        (await store.CommitAsync(TestSagas.Start("a"))).ShouldBe(CommitOutcome.Conflict);
        (await store.FindAsync(new SagaId("a"), default))!.Definition.ShouldBe("trip");
    }

    [Fact]
    public async Task A_commit_on_an_old_version_is_a_conflict_and_changes_nothing()
    {
        var store = await OpenAsync();
        var start = TestSagas.Start("a");
        var second = await store.MustCommitAsync(start, start.Next());
        (await store.CommitAsync(start.Stick())).ShouldBe(CommitOutcome.Conflict);
        (await store.CommitAsync(second.Next().Next())).ShouldBe(CommitOutcome.Conflict);
        (await store.CommitAsync(second.End().Next())).ShouldBe(CommitOutcome.Conflict);
        (await store.FindAsync(new SagaId("a"), default)).Text().ShouldBe(second.State.Text());
        (await HistoryAsync(store, "a")).ShouldBe("1 started, 2 sent, 3 replied");
        (await CountsAsync(store)).ShouldBe("Running 1");
    }

    [Fact]
    public async Task A_commit_on_a_saga_that_is_not_there_or_has_ended_is_a_conflict()
    {
        var store = await OpenAsync();
        (await store.CommitAsync(TestSagas.Start("a").Next())).ShouldBe(CommitOutcome.Conflict);
        var start = TestSagas.Start("b");
        var end = await store.MustCommitAsync(start, start.End());
        (await store.CommitAsync(end.Next())).ShouldBe(CommitOutcome.Conflict);
        (await store.FindAsync(new SagaId("b"), default)).Text().ShouldBe(end.State.Text());
        (await HistoryAsync(store, "a")).ShouldBe("none");
    }

    [Fact]
    public async Task A_conflict_does_not_hold_up_the_others_of_its_call()
    {
        var store = await OpenAsync();
        var b = await store.MustCommitAsync(TestSagas.Start("b"));
        (await store.CommitAsync([TestSagas.Start("a"), TestSagas.Start("b"), b.Next().Next(), b.Next(), TestSagas.Start("c")], default))
            .ShouldBe([CommitOutcome.Committed, CommitOutcome.Conflict, CommitOutcome.Conflict, CommitOutcome.Committed, CommitOutcome.Committed]);
        (await store.IdsAsync()).ShouldBe("c b a");
        (await store.FindAsync(new SagaId("b"), default))!.Version.ShouldBe(2);
    }

    [Fact]
    public async Task Several_versions_of_one_saga_may_come_in_one_call()
    {
        var store = await OpenAsync();
        var start = TestSagas.Start("a");
        var next = start.Next();
        (await store.CommitAsync([start, next, next.End()], default)).ShouldAllBe(static outcome => outcome == CommitOutcome.Committed);
        (await HistoryAsync(store, "a")).ShouldBe("1 started, 2 sent, 3 replied, 4 completed");
    }

    [Fact]
    public async Task An_empty_call_commits_nothing()
    {
        var store = await OpenAsync();
        (await store.CommitAsync([], default)).ShouldBeEmpty();
    }

    [Fact]
    public async Task Of_concurrent_commits_on_one_version_exactly_one_wins()
    {
        var store = await OpenAsync();
        var last = await store.MustCommitAsync(TestSagas.Start("a"));
        for (var round = 0; round < 50; round++)
        {
            var rivals = Enumerable.Range(0, 4).Select(i => last.Next(state => state with { TraceParent = $"{round}.{i}" })).ToArray();
            var outcomes = await Task.WhenAll(rivals.Select(rival => Task.Run(() => store.CommitAsync(rival))));
            outcomes.Count(static outcome => outcome == CommitOutcome.Committed).ShouldBe(1);
            last = rivals[Array.IndexOf(outcomes, CommitOutcome.Committed)];
            (await store.FindAsync(new SagaId("a"), default))!.TraceParent.ShouldBe(last.State.TraceParent);
        }

        (await store.HistoryAsync(new SagaId("a"), 0, 1000, default))!.Select(static entry => entry.Seq).ShouldBe(Enumerable.Range(1, 52));
    }

    [Fact]
    public async Task Calls_that_cross_on_two_sagas_both_end()
    {
        var store = await OpenAsync();
        SagaCommit a = TestSagas.Start("a"), b = TestSagas.Start("b");
        await store.MustCommitAsync(a, b);
        for (var round = 0; round < 50; round++)
        {
            var (nextA, nextB) = (a.Next(), b.Next());
            var outcomes = await Task.WhenAll(
                Task.Run(async () => await store.CommitAsync([nextA, nextB.Next()], default)), Task.Run(async () => await store.CommitAsync([nextB, nextA.Next()], default)));
            outcomes[0][0].ShouldBe(CommitOutcome.Committed);
            outcomes[1][0].ShouldBe(CommitOutcome.Committed);
            a = outcomes[1][1] == CommitOutcome.Committed ? nextA.Next() : nextA;
            b = outcomes[0][1] == CommitOutcome.Committed ? nextB.Next() : nextB;
        }
    }

    [Fact]
    public async Task History_comes_in_order_without_gaps_and_in_pages()
    {
        var store = await OpenAsync();
        var last = await store.MustCommitAsync(TestSagas.Start("a"));
        for (var i = 0; i < 20; i++) last = await store.MustCommitAsync(last.Next(null, i % 3 == 0 ? ["replied", "sent", "timed-out"] : ["replied"]));
        await Check();
        last = await store.MustCommitAsync(last.End());
        await Check();

        async Task Check()
        {
            var all = (await store.HistoryAsync(last.State.Id, 0, int.MaxValue, default))!;
            all.Select(static entry => entry.Seq).ShouldBe(Enumerable.Range(1, last.State.HistoryCount));
            all[0].ShouldBe(new HistoryEntry { Seq = 1, Time = TestSagas.Noon, Event = "started", Step = "seat", Phase = Phase.Try, Attempt = 1, Detail = "started of a" });
            for (var limit = 1; limit < 9; limit++)
            {
                var pages = new List<HistoryEntry>();
                while (await store.HistoryAsync(last.State.Id, pages.Count, limit, default) is { Count: > 0 } page)
                {
                    page.Count.ShouldBeLessThanOrEqualTo(limit);
                    pages.AddRange(page);
                }

                pages.ShouldBe(all);
            }

            (await store.HistoryAsync(last.State.Id, last.State.HistoryCount, 10, default)).ShouldBeEmpty();
        }
    }

    [Fact]
    public async Task A_version_without_history_adds_none()
    {
        var store = await OpenAsync();
        var start = TestSagas.Start("a");
        var quiet = start.Next() with { History = [] };
        quiet = quiet with { State = quiet.State with { HistoryCount = 2 } };
        await store.MustCommitAsync(start, quiet, quiet.Next(), quiet.Next().End());
        (await HistoryAsync(store, "a")).ShouldBe("1 started, 2 sent, 3 replied, 4 completed");
        (await store.HistoryAsync(new SagaId("a"), 2, 1, default))!.Single().Seq.ShouldBe(3);
    }

    [Fact]
    public async Task A_finished_saga_is_read_back_whole()
    {
        var store = await OpenAsync();
        var start = TestSagas.Start("a", tags: ("customer", "c1"));
        var end = await store.MustCommitAsync(start, start.Confirm(), start.Confirm().End());
        (await store.FindAsync(new SagaId("a"), default)).Text().ShouldBe(end.State.Text());
        (await store.ListAsync(new SagaFilter(), 10, null, default)).Items.Single().Text().ShouldBe(end.State.Text());
        (await HistoryAsync(store, "a")).ShouldBe("1 started, 2 sent, 3 replied, 4 committed, 5 completed");
    }

    [Fact]
    public async Task Payloads_of_256_KiB_are_kept()
    {
        var store = await OpenAsync();
        var start = TestSagas.Start("a", input: $"\"{new string('x', 256 * 1024 - 2)}\"");
        var next = start.Next(state => state with { Steps = state.Steps.SetItem(0, state.Steps[0] with { Command = start.State.Input, Result = start.State.Input }) });
        var end = await store.MustCommitAsync(start, next, next.End());
        (await store.FindAsync(new SagaId("a"), default)).Text().ShouldBe(end.State.Text());
    }

    [Theory]
    [InlineData("0")]
    [InlineData("a.b_c:d-e")]
    [InlineData("A...___:::---")]
    [InlineData("order-2026:eu.1_x")]
    public async Task Ids_may_have_dots_underscores_colons_and_dashes(string id)
    {
        var store = await OpenAsync();
        var start = TestSagas.Start(id);
        await store.MustCommitAsync(start, start.End(), TestSagas.Start(id + "2"));
        (await store.FindAsync(new SagaId(id), default))!.Id.Value.ShouldBe(id);
        (await HistoryAsync(store, id)).ShouldBe("1 started, 2 sent, 3 completed");
        (await store.IdsAsync(new SagaFilter(Text: id), 1)).ShouldBe(id + "2");
    }

    [Fact]
    public async Task Ids_as_long_as_allowed_and_those_of_their_children_are_kept()
    {
        var store = await OpenAsync();
        var id = new string('x', 128);
        await store.MustCommitAsync(TestSagas.Start(id), TestSagas.Start(id + ".payment.lines[12]"), TestSagas.Start(id[..127]));
        (await store.FindAsync(new SagaId(id + ".payment.lines[12]"), default)).ShouldNotBeNull();
        var first = await store.ListAsync(new SagaFilter(), 1, null, default);
        first.Items.Single().Id.Value.ShouldBe(id + ".payment.lines[12]");
        (await store.ListAsync(new SagaFilter(), 1, first.Next, default)).Items.Single().Id.Value.ShouldBe(id);
    }

    [Fact]
    public async Task A_listing_is_newest_start_first_and_ties_by_id_descending()
    {
        var store = await OpenAsync();
        await store.MustCommitAsync(TestSagas.Start("c", at: TestSagas.Noon.AddSeconds(1)), TestSagas.Start("a"), TestSagas.Start("b"), TestSagas.Start("d", at: TestSagas.Noon.AddSeconds(-1)));
        (await store.IdsAsync()).ShouldBe("c b a d");
    }

    [Fact]
    public async Task A_listing_filters_by_everything_the_filter_has()
    {
        var store = await OpenAsync();
        var stuck = TestSagas.Start("stuck-1", at: TestSagas.Noon.AddMinutes(1), tags: [("customer", "c1"), ("region", "eu")]);
        var done = TestSagas.Start("done-1", "order", TestSagas.Noon.AddMinutes(2), tags: [("customer", "c1"), ("region", "us")]);
        var undone = TestSagas.Start("undone-1", at: TestSagas.Noon.AddMinutes(3), tags: ("customer", "c2"));
        var confirming = TestSagas.Start("confirming-1", "order", TestSagas.Noon.AddMinutes(4), tags: ("note", "stuck-1"));
        await store.MustCommitAsync(stuck, stuck.Stick(), done, done.End(), undone, undone.End(SagaStatus.Compensated), confirming, confirming.Confirm(),
            TestSagas.Start("running-1", at: TestSagas.Noon.AddMinutes(5)));

        (await store.IdsAsync()).ShouldBe("running-1 confirming-1 undone-1 done-1 stuck-1");
        (await store.IdsAsync(new SagaFilter([SagaStatus.Stuck]))).ShouldBe("stuck-1");
        (await store.IdsAsync(new SagaFilter([SagaStatus.Running]))).ShouldBe("running-1");
        (await store.IdsAsync(new SagaFilter([SagaStatus.Completed, SagaStatus.Compensated]))).ShouldBe("undone-1 done-1");
        (await store.IdsAsync(new SagaFilter(Definition: "order"))).ShouldBe("confirming-1 done-1");
        (await store.IdsAsync(new SagaFilter([SagaStatus.Completed], "order"))).ShouldBe("done-1");
        (await store.IdsAsync(new SagaFilter(Definition: "none"))).ShouldBe("");
        (await store.IdsAsync(new SagaFilter(Tags: Tags(("customer", "c1"))))).ShouldBe("done-1 stuck-1");
        (await store.IdsAsync(new SagaFilter(Tags: Tags(("customer", "c1"), ("region", "eu"))))).ShouldBe("stuck-1");
        (await store.IdsAsync(new SagaFilter(Tags: Tags(("region", "c1"))))).ShouldBe("");
        (await store.IdsAsync(new SagaFilter([SagaStatus.Completed], Tags: Tags(("customer", "c1"))))).ShouldBe("done-1");
        (await store.IdsAsync(new SagaFilter(Text: "stuck-1"))).ShouldBe("confirming-1 stuck-1");
        (await store.IdsAsync(new SagaFilter(Text: "un"))).ShouldBe("undone-1");
        (await store.IdsAsync(new SagaFilter(Text: "eu"))).ShouldBe("stuck-1");
        (await store.IdsAsync(new SagaFilter(Text: "e"))).ShouldBe("");
        (await store.IdsAsync(new SagaFilter(Text: "c2", Definition: "trip"))).ShouldBe("undone-1");
        (await store.IdsAsync(new SagaFilter(StartedAfter: TestSagas.Noon.AddMinutes(2), StartedBefore: TestSagas.Noon.AddMinutes(4)))).ShouldBe("undone-1 done-1");
        (await store.IdsAsync(new SagaFilter(StartedAfter: TestSagas.Noon.AddMinutes(5)))).ShouldBe("running-1");
        (await store.IdsAsync(new SagaFilter(StartedAfter: DateTimeOffset.MinValue, StartedBefore: DateTimeOffset.MaxValue), 1)).ShouldBe("running-1");
        (await store.IdsAsync(new SagaFilter(Step: "seat"))).ShouldBe("");
        (await store.IdsAsync(new SagaFilter(Step: "seat") { StepPlaces = [new StepPlace("trip", 1, 0), new StepPlace("order", 1, 0)] })).ShouldBe("running-1 confirming-1 stuck-1");
        (await store.IdsAsync(new SagaFilter(Step: "seat") { StepPlaces = [new StepPlace("order", 1, 0), new StepPlace("trip", 2, 0), new StepPlace("trip", 1, 9)] })).ShouldBe("confirming-1");
        (await store.IdsAsync(new SagaFilter(Step: "room") { StepPlaces = [new StepPlace("trip", 1, 1)] })).ShouldBe("");
        (await CountsAsync(store, new SagaFilter(Tags: Tags(("customer", "c1"))))).ShouldBe("Stuck 1, Completed 1");
        (await CountsAsync(store, new SagaFilter(Text: "stuck-1"))).ShouldBe("Confirming 1, Stuck 1");
        (await CountsAsync(store, new SagaFilter(StartedAfter: TestSagas.Noon.AddMinutes(4)))).ShouldBe("Running 1, Confirming 1");
    }

    [Fact]
    public async Task A_waiting_step_is_under_way()
    {
        var store = await OpenAsync();
        var start = TestSagas.Start("a");
        await store.MustCommitAsync(start, start.Next(static state => state with { Steps = [state.Steps[0] with { Status = StepStatus.Tried }, new StepState { Status = StepStatus.Waiting }] }));
        (await store.IdsAsync(new SagaFilter(Step: "approval") { StepPlaces = [new StepPlace("trip", 1, 1)] })).ShouldBe("a");
        (await store.IdsAsync(new SagaFilter(Step: "seat") { StepPlaces = [new StepPlace("trip", 1, 0)] })).ShouldBe("");
    }

    [Fact]
    public async Task An_error_finds_the_unfinished_sagas_that_have_it_at_any_step_or_at_one()
    {
        var store = await OpenAsync();
        var failed = new SagaError("seat", "down", "no answer");
        await store.MustCommitAsync(TestSagas.Start("fine"));
        var stuck = await store.MustCommitAsync(TestSagas.Start("stuck"), TestSagas.Start("stuck").Stick());
        var back = TestSagas.Start("back", "order");
        await store.MustCommitAsync(back, back.Next(state => state with { Course = SagaStatus.Compensating, Error = failed with { Code = "full" } }));
        (await store.IdsAsync(new SagaFilter { Error = "down" })).ShouldBe("stuck");
        (await store.IdsAsync(new SagaFilter { Error = "full" })).ShouldBe("back");
        (await store.IdsAsync(new SagaFilter { Error = "lost" })).ShouldBe("");
        (await store.IdsAsync(new SagaFilter(Step: "seat") { Error = "down", StepPlaces = [new StepPlace("trip", 1, 0)] })).ShouldBe("stuck");
        (await store.IdsAsync(new SagaFilter(Step: "room") { Error = "down", StepPlaces = [new StepPlace("trip", 1, 1)] })).ShouldBe("");
        (await store.IdsAsync(new SagaFilter(Definition: "trip") { Error = "full" })).ShouldBe("");
        (await CountsAsync(store, new SagaFilter { Error = "down" })).ShouldBe("Stuck 1");
        await store.MustCommitAsync(stuck.End());
        (await store.IdsAsync(new SagaFilter { Error = "down" })).ShouldBe("");
    }

    [Fact]
    public async Task A_status_is_listed_as_it_changes()
    {
        var store = await OpenAsync();
        var last = await store.MustCommitAsync(TestSagas.Start("a"));
        foreach (var (change, shown) in new (Func<SagaCommit, SagaCommit>, SagaStatus)[]
        {
            (TestSagas.Stick, SagaStatus.Stuck),
            (static saga => saga.Next(static state => state with { Steps = state.Steps.SetItem(0, state.Steps[0] with { Stuck = false }) }), SagaStatus.Running),
            (TestSagas.Confirm, SagaStatus.Confirming),
            (static saga => saga.End(SagaStatus.Terminated), SagaStatus.Terminated),
        })
        {
            last = await store.MustCommitAsync(change(last));
            (await CountsAsync(store)).ShouldBe($"{shown} 1");
            (await store.IdsAsync(new SagaFilter([shown]))).ShouldBe("a");
        }
    }

    [Fact]
    public async Task Pages_neither_repeat_nor_leave_out_while_new_sagas_come_in_and_old_ones_end()
    {
        var store = await OpenAsync();
        var sagas = Enumerable.Range(0, 57).Select(static i => TestSagas.Start($"s{i:D3}", i % 2 == 0 ? "trip" : "order", TestSagas.Noon.AddSeconds(i / 3), tags: ("customer", "c1"))).ToArray();
        await store.MustCommitAsync(sagas);
        foreach (var filter in new SagaFilter[] { new(), new(Definition: "order"), new(Tags: Tags(("customer", "c1"))), new(Text: "s0"), new(StartedBefore: TestSagas.Noon.AddMinutes(1)) })
        {
            var expected = sagas.Where(saga => filter.Definition is null || saga.State.Definition == filter.Definition).Select(static saga => saga.State.Id.Value).Reverse();
            var seen = new List<string>();
            string? cursor = null;
            var page = 0;
            do
            {
                var (items, next) = await store.ListAsync(filter, 5, cursor, default);
                seen.AddRange(items.Select(static saga => saga.Id.Value));
                cursor = next;
                await store.MustCommitAsync(TestSagas.Start($"new-{Guid.NewGuid():N}", "fresh", TestSagas.Noon.AddMinutes(2)));
                if (page++ < sagas.Length && sagas[page] is { State.Ended: false } ending) sagas[page] = await store.MustCommitAsync(ending.End());
            }
            while (cursor is not null);
            seen.Where(static id => id[0] == 's').ShouldBe(expected);
        }
    }

    [Fact]
    public async Task The_last_page_has_no_cursor()
    {
        var store = await OpenAsync();
        await store.MustCommitAsync(TestSagas.Start("a"), TestSagas.Start("b"));
        (await store.ListAsync(new SagaFilter(), 2, null, default)).Next.ShouldBeNull();
        var first = await store.ListAsync(new SagaFilter(), 1, null, default);
        (await store.ListAsync(new SagaFilter(), 1, first.Next, default)).Next.ShouldBeNull();
    }

    [Theory]
    [InlineData("")]
    [InlineData("x")]
    [InlineData("not a cursor")]
    [InlineData("AAAAAAAAAAA")]
    [InlineData("AAAAAAAAAAAAAAAA")]
    [InlineData("%%%")]
    public async Task A_cursor_that_is_none_is_a_format_error(string cursor)
    {
        var store = await OpenAsync();
        await store.MustCommitAsync(TestSagas.Start("a"));
        await Should.ThrowAsync<FormatException>(async () => await store.ListAsync(new SagaFilter(), 10, cursor, default));
    }

    [Fact]
    public async Task Counts_follow_the_commits()
    {
        var store = await OpenAsync();
        (await CountsAsync(store)).ShouldBe("");
        for (var i = 0; i < 10; i++)
        {
            var start = TestSagas.Start($"s{i}", i < 4 ? "trip" : "order");
            await store.MustCommitAsync(start);
            if (i % 2 == 0) await store.MustCommitAsync(start.End());
        }

        (await CountsAsync(store)).ShouldBe("Running 5, Completed 5");
        (await CountsAsync(store, new SagaFilter(Definition: "trip"))).ShouldBe("Running 2, Completed 2");
        (await CountsAsync(store, new SagaFilter([SagaStatus.Completed], "order"))).ShouldBe("Completed 3");
        (await CountsAsync(store, new SagaFilter(Definition: "none"))).ShouldBe("");
    }

    [Fact]
    public async Task Finished_sagas_are_forgotten_after_the_retention_and_unfinished_ones_never()
    {
        var store = await OpenAsync();
        SagaCommit open = TestSagas.Start("open"), old = TestSagas.Start("old", tags: ("customer", "c1")), late = TestSagas.Start("late");
        await store.MustCommitAsync(open, old, late, old.End(at: TestSagas.Noon.AddHours(1)), late.End(SagaStatus.Compensated, TestSagas.Noon.AddHours(2)));
        Time.Now = TestSagas.Noon + Keep + TimeSpan.FromHours(1) - TimeSpan.FromMilliseconds(1);
        await ForgetOldAsync(store);
        (await store.IdsAsync()).ShouldBe("open old late");
        Time.Now += TimeSpan.FromMilliseconds(1);
        await ForgetOldAsync(store);
        (await store.IdsAsync()).ShouldBe("open late");
        (await store.FindAsync(new SagaId("old"), default)).ShouldBeNull();
        (await HistoryAsync(store, "old")).ShouldBe("none");
        (await store.IdsAsync(new SagaFilter(Text: "c1"))).ShouldBe("");
        Time.Now += TimeSpan.FromDays(1000);
        await ForgetOldAsync(store);
        (await store.IdsAsync()).ShouldBe("open");
        (await CountsAsync(store)).ShouldBe("Running 1");
        await store.MustCommitAsync(TestSagas.Start("old"), open.Next());
        (await HistoryAsync(store, "old")).ShouldBe("1 started, 2 sent");
    }

    [Fact]
    public async Task Twenty_thousand_finished_sagas_are_listed_and_counted_without_reading_them()
    {
        var store = await OpenAsync();
        const int Many = 20_000;
        for (var at = 0; at < Many; at += 500)
        {
            var starts = Enumerable.Range(at, 500).Select(static i => TestSagas.Start($"s{i * 7919 % Many:D6}", $"d{i % 5}", TestSagas.Noon.AddMilliseconds(i), tags: ("customer", $"c{i % 1000}"))).ToArray();
            await store.CommitAsync(starts, default);
            await store.CommitAsync([.. starts.Select(static start => start.End())], default);
        }

        var stuck = TestSagas.Start("stuck", "d0", TestSagas.Noon.AddMilliseconds(10_000));
        await store.MustCommitAsync(stuck, stuck.Stick());
        (await CountsAsync(store)).ShouldBe($"Stuck 1, Completed {Many}");
        (await store.IdsAsync(new SagaFilter([SagaStatus.Stuck]))).ShouldBe("stuck");
        (await CountsAsync(store, new SagaFilter(Tags: Tags(("customer", "c7"))))).ShouldBe("Completed 20");
        (await CountsAsync(store, new SagaFilter(Text: "s01999"))).ShouldBe("Completed 10");
        var seen = new HashSet<string>();
        var before = DateTimeOffset.MaxValue;
        string? cursor = null;
        do
        {
            var (items, next) = await store.ListAsync(new SagaFilter(Definition: "d3"), 500, cursor, default);
            foreach (var saga in items)
            {
                seen.Add(saga.Id.Value).ShouldBeTrue();
                saga.StartedAt.ShouldBeLessThan(before);
                before = saga.StartedAt;
            }

            cursor = next;
        }
        while (cursor is not null);
        seen.Count.ShouldBe(Many / 5);
    }

    [Fact]
    public async Task A_definition_is_kept_once_and_the_first_of_a_version_stays()
    {
        var store = await OpenAsync();
        (await store.DefinitionsAsync(default)).ShouldBeEmpty();
        (await store.SaveDefinitionAsync(Definition("b", 1, "one"), default)).ShouldBe(DefinitionOutcome.Saved);
        (await store.SaveDefinitionAsync(Definition("b", 1, "one", DefinitionSource.File), default)).ShouldBe(DefinitionOutcome.Exists);
        (await store.SaveDefinitionAsync(Definition("b", 1, "other"), default)).ShouldBe(DefinitionOutcome.Conflict);
        (await store.SaveDefinitionAsync(Definition("b", 10, "one"), default)).ShouldBe(DefinitionOutcome.Saved);
        (await store.SaveDefinitionAsync(Definition("b", 9, "other"), default)).ShouldBe(DefinitionOutcome.Saved);
        (await store.SaveDefinitionAsync(Definition("B", 1, "other", DefinitionSource.File), default)).ShouldBe(DefinitionOutcome.Saved);
        var kept = await store.DefinitionsAsync(default);
        kept.Select(static definition => $"{definition.Name} {definition.Version} {definition.Fingerprint} {definition.Source}")
            .ShouldBe(["B 1 other File", "b 1 one Rest", "b 9 other Rest", "b 10 one Rest"]);
        kept[1].Json.ToString().ShouldBe("""{"name":"b","text":"\u00e4 ä 漢字","n":1.50}""");
    }

    [Fact]
    public async Task Definitions_are_no_sagas_and_are_not_forgotten_with_them()
    {
        var store = await OpenAsync();
        await store.SaveDefinitionAsync(Definition("trip", 1, "one"), default);
        var start = TestSagas.Start("a");
        await store.MustCommitAsync(start, start.End());
        Time.Now += Keep * 2;
        await ForgetOldAsync(store);
        (await CountsAsync(store)).ShouldBe("");
        (await store.DefinitionsAsync(default)).Single().Name.ShouldBe("trip");
    }

    [Fact]
    public async Task Of_many_that_define_a_version_at_once_one_wins()
    {
        var store = await OpenAsync();
        var outcomes = await Task.WhenAll(Enumerable.Range(0, 16).Select(i => Task.Run(async () => await store.SaveDefinitionAsync(Definition("trip", 1, $"{i % 4}"), default))));
        outcomes.Count(static outcome => outcome == DefinitionOutcome.Saved).ShouldBe(1);
        outcomes.Count(static outcome => outcome == DefinitionOutcome.Exists).ShouldBe(3);
        (await store.DefinitionsAsync(default)).Count.ShouldBe(1);
    }

    [Fact]
    public async Task An_operation_is_kept_version_by_version_and_forgotten_when_it_ended_long_ago()
    {
        var store = await OpenAsync();
        (await store.OperationsAsync(default)).ShouldBeEmpty();
        var first = new Operation
        {
            Id = "0001", Version = 1, Action = OperationAction.Cancel, Reason = "\"quoted\" 漢字", By = "ann", Matched = 7, StartedAt = Time.Now, UpdatedAt = Time.Now, Node = "n1",
            Filter = new SagaFilter([SagaStatus.Stuck, SagaStatus.Running], "trip", Tags(("city", "Paris:1")), "seat", "x", TestSagas.Noon.AddTicks(5), TestSagas.Noon.AddDays(1)) { Error = "down" },
        };
        (await store.SaveOperationAsync(first, default)).ShouldBeTrue();
        (await store.SaveOperationAsync(first, default)).ShouldBeTrue();
        (await store.SaveOperationAsync(first with { Node = "n2" }, default)).ShouldBeFalse();
        (await store.SaveOperationAsync(first with { Version = 3 }, default)).ShouldBeFalse();
        (await store.SaveOperationAsync(first with { Id = "0002", Version = 2 }, default)).ShouldBeFalse();
        var second = first with { Version = 2, Status = OperationStatus.Done, Done = 5, Failed = 2, Errors = [new("s1", "It is paused.")], FinishedAt = Time.Now, Cursor = "abc", CancelledBy = "bob", CancelReason = "why" };
        (await store.SaveOperationAsync(second, default)).ShouldBeTrue();
        (await store.SaveOperationAsync(first with { Id = "0003", Version = 1 }, default)).ShouldBeTrue();
        var kept = await store.OperationsAsync(default);
        kept.Select(static operation => operation.Id).ShouldBe(["0003", "0001"]);
        System.Text.Encoding.UTF8.GetString(kept[1].ToUtf8()).ShouldBe(System.Text.Encoding.UTF8.GetString(second.ToUtf8()));
        Operation.Parse(second.ToUtf8()).ToUtf8().ShouldBe(second.ToUtf8());
        Time.Now += Keep + TimeSpan.FromMinutes(1);
        await ForgetOldAsync(store);
        (await store.OperationsAsync(default)).Select(static operation => operation.Id).ShouldBe(["0003"]);
    }

    [Fact]
    public async Task What_operators_did_is_kept_newest_first_and_forgotten_as_sagas_are()
    {
        var store = await OpenAsync();
        (await store.AuditAsync(10, null, default)).ShouldBeEmpty();
        // Ids begin with their time; two of one moment are told apart by the rest.
        AuditEntry Entry(string rest, string? detail = null) =>
            new() { Id = $"{Time.Now.ToUnixTimeMilliseconds():x12}{rest}", At = Time.Now, By = "ann", Action = "cancel", Kind = "saga", Target = "s 1", Detail = detail, Reason = "\"quoted\" 漢字" };
        var (one, two) = (Entry("7000800000000000000b"), Entry("7000800000000000000a", "seat: done"));
        Time.Now += TimeSpan.FromSeconds(1);
        var three = Entry("70008000000000000001");
        await store.SaveAuditAsync(three, default);
        await store.SaveAuditAsync(one, default);
        await store.SaveAuditAsync(two, default);
        await store.SaveAuditAsync(two, default);
        (await store.AuditAsync(10, null, default)).ShouldBe([three, one, two]);
        (await store.AuditAsync(1, three.Id, default)).ShouldBe([one]);
        (await store.AuditAsync(10, two.Id, default)).ShouldBeEmpty();
        Time.Now += Keep - TimeSpan.FromSeconds(1);
        await ForgetOldAsync(store);
        (await store.AuditAsync(10, null, default)).ShouldBe([three]);
    }

    [Fact]
    public async Task A_saga_that_brought_its_definition_keeps_it_and_is_found_by_its_own_steps()
    {
        var store = await OpenAsync();
        var own = new InlineDefinition(DefinitionJson.Parse("""{"name":"trip","version":1,"steps":[{"name":"berth","step":{"do":"bus:p/a"}},{"name":"seat","after":["berth"],"step":{"do":"bus:p/b"}}]}"""u8.ToArray()));
        SagaCommit inline = TestSagas.Start("inline"), listed = TestSagas.Start("listed");
        inline = inline with { State = inline.State with { Inline = own } };
        await store.MustCommitAsync(inline, inline.Next(), listed);
        var found = (await store.FindAsync(new SagaId("inline"), default))!;
        found.Text().ShouldBe(inline.Next().State.Text());
        found.Inline!.Definition!.Steps[0].Name.ShouldBe("berth");
        // In the loaded trip version 1 the seat comes first; in the saga's own it comes second.
        (await store.IdsAsync(new SagaFilter(Step: "seat") { StepPlaces = [new StepPlace("trip", 1, 0)] })).ShouldBe("listed");
        (await store.IdsAsync(new SagaFilter(Step: "berth"))).ShouldBe("inline");
        (await store.IdsAsync(new SagaFilter(Definition: "trip"))).ShouldBe("listed inline");
        await store.MustCommitAsync(inline.Next().Stick());
        (await store.IdsAsync(new SagaFilter(Step: "berth") { Error = "down" })).ShouldBe("inline");
        (await store.IdsAsync(new SagaFilter(Step: "seat") { Error = "down", StepPlaces = [new StepPlace("trip", 1, 0)] })).ShouldBe("");
        await store.MustCommitAsync(inline.Next().Stick().End());
        (await store.FindAsync(new SagaId("inline"), default))!.Inline!.Json.ToString().ShouldBe(own.Json.ToString());
    }

    [Fact]
    public async Task An_open_store_is_well()
    {
        var store = await OpenAsync();
        store.Health.ShouldBe(StoreHealth.Good);
    }

    private protected static StoredDefinition Definition(string name, int version, string fingerprint, DefinitionSource source = DefinitionSource.Rest) =>
        new(name, version, fingerprint, Payload.Parse($$"""{"name":"{{name}}","text":"\u00e4 ä 漢字","n":1.50}"""), source);

    private protected static ImmutableArray<KeyValuePair<string, string>> Tags(params (string Key, string Value)[] tags) => [.. tags.Select(static tag => KeyValuePair.Create(tag.Key, tag.Value))];

    private protected static async Task<string> HistoryAsync(ISagaStore store, string id) =>
        await store.HistoryAsync(new SagaId(id), 0, 1000, default) is { } history ? string.Join(", ", history.Select(static entry => $"{entry.Seq} {entry.Event}")) : "none";

    private protected static async Task<string> CountsAsync(ISagaStore store, SagaFilter? filter = null) =>
        string.Join(", ", (await store.CountAsync(filter ?? new SagaFilter(), default)).OrderBy(static pair => pair.Key).Select(static pair => $"{pair.Key} {pair.Value}"));
}

/// <summary>A clock that stands still until a test sets it; its timers never fire.</summary>
sealed class StoppedClock(DateTimeOffset now) : TimeProvider
{
    public DateTimeOffset Now { get; set; } = now;

    public override DateTimeOffset GetUtcNow() => Now;

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) => new Never();

    sealed class Never : ITimer
    {
        public bool Change(TimeSpan dueTime, TimeSpan period) => true;

        public void Dispose()
        {
        }

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}

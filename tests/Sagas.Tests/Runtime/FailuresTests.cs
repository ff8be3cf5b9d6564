using Sagas.Runtime;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Runtime;

/// <summary>Failures grouped in memory: from commits, and from what the store hands over.</summary>
public sealed class FailuresTests
{
    [Fact]
    public async Task A_repeated_failure_of_a_saga_is_one_saga_and_several_attempts()
    {
        await using var stage = await Stage.OpenAsync();
        await stage.StartAsync("row", "r1");
        await stage.ReplyAsync(await stage.Bus.NextAsync(), Outcome.Error);
        await stage.Engine.RequestAsync(new SagaId("r1"), new SagaEvent.RetryRequested("test", "test"));
        await stage.ReplyAsync(await stage.Bus.NextAsync(), Outcome.Error);
        // Its last attempt: the saga turns back and asks for the cancel.
        (await stage.Bus.NextAsync()).Phase.ShouldBe(Phase.Cancel);
        var group = (await stage.Engine.FailuresAsync()).Groups.ShouldHaveSingleItem();
        (group.Code, group.Count, group.Attempts, group.Refused, group.ByStatus[SagaStatus.Compensating]).ShouldBe(("no", 1, 2, false, 1));
        group.Series.Sum().ShouldBe(1);
    }

    [Fact]
    public async Task Ended_sagas_count_for_a_day_and_then_the_group_is_gone()
    {
        await using var stage = await Stage.OpenAsync();
        await stage.StartAsync("row", "r1");
        await stage.ReplyAsync(await stage.Bus.NextAsync(), Outcome.Refused);
        (await stage.EndOfAsync("r1")).Course.ShouldBe(SagaStatus.Compensated);
        // It is counted after it can be read.
        await Eventually.TrueAsync(async () => (await stage.Engine.FailuresAsync()).Groups is [{ } one] && one.ByStatus.ContainsKey(SagaStatus.Compensated));
        stage.Time.Advance(TimeSpan.FromHours(23));
        (await stage.Engine.FailuresAsync()).Groups.ShouldHaveSingleItem().Count.ShouldBe(1);
        stage.Time.Advance(TimeSpan.FromHours(2));
        (await stage.Engine.FailuresAsync()).Groups.ShouldBeEmpty();
    }

    [Fact]
    public async Task A_new_node_knows_what_its_unfinished_sagas_fail_with()
    {
        var store = new MemoryStore();
        var first = new Stage(store);
        await first.Engine.StartAsync(CancellationToken.None);
        await first.StartAsync("row", "r1");
        await first.ReplyAsync(await first.Bus.NextAsync(), Outcome.Error);
        // An answered request shows that the reply before it was committed with it.
        await first.Engine.RequestAsync(new SagaId("r1"), new SagaEvent.PauseRequested("test", "test"));
        await first.Engine.StoppingAsync(CancellationToken.None);

        await using var second = await Stage.OpenAsync(store);
        var group = (await second.Engine.FailuresAsync()).Groups.ShouldHaveSingleItem();
        (group.Definition, group.Code, group.Phase).ShouldBe(("row", "no", Phase.Try));
    }

    [Fact]
    public void Beyond_so_many_groups_failures_are_only_counted()
    {
        var failures = new Failures(TimeProvider.System);
        for (var i = 0; i <= Failures.MaxGroups; i++)
        {
            var saga = TestSagas.Start($"s{i}").State with { Error = new SagaError(null, $"code-{i}", "no"), Course = SagaStatus.Compensating };
            failures.Committed(new SagaCommit(saga, [new HistoryEntry { Seq = 1, Time = DateTimeOffset.UtcNow, Event = "turned-back" }]), () => null);
        }
        failures.Omitted.ShouldBe(1);
    }
}

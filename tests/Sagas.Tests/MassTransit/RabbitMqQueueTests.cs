using Sagas.MassTransit;
using Shouldly;
using Xunit;

namespace Sagas.Tests.MassTransit;

/// <summary>Which queues there are, and what becomes of them when others lay hands on them.</summary>
public sealed class RabbitMqQueueTests
{
    [Fact]
    public async Task Sagas_run_over_quorum_queues_and_no_others_are_made()
    {
        var (rabbit, name) = (await RabbitServer.SharedAsync(), RabbitStation.Name());
        await using var seats = await RabbitStation.ParticipantAsync(rabbit.Url, name);
        await using var engine = await RabbitStation.EngineAsync(rabbit.Url, name, node: name);
        await engine.RunAsync(100);
        var queues = await rabbit.QueuesAsync("");
        queues.Where(queue => queue.Contains(name, StringComparison.Ordinal)).ShouldBe([$"sagas.replies.{name} quorum", $"sagas.{name} quorum"]);
        queues.ShouldAllBe(queue => queue.StartsWith("sagas.", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Queues_are_classic_where_they_are_asked_to_be_and_stay_what_they_are()
    {
        var (rabbit, name) = (await RabbitServer.SharedAsync(), RabbitStation.Name());
        await using var engine = await RabbitStation.EngineAsync(rabbit.Url, name, node: name, configure: o => o.Queues = QueueKind.Classic);
        var sagas = await engine.StartAsync(1);
        await rabbit.HoldsAsync($"sagas.{name}");
        await using var seats = await RabbitStation.ParticipantAsync(rabbit.Url, name);
        await engine.EndAsync(sagas);
        (await rabbit.QueuesAsync(name)).ShouldBe([$"sagas.replies.{name} classic", $"sagas.{name} classic"]);
    }

    [Theory]
    [InlineData(QueueKind.Quorum)]
    [InlineData(QueueKind.Classic)]
    public async Task A_queue_that_somebody_deletes_is_made_again_and_what_was_sent_to_it_is_not_lost(QueueKind kind)
    {
        var (rabbit, name) = (await RabbitServer.SharedAsync(), RabbitStation.Name());
        await using var engine = await RabbitStation.EngineAsync(rabbit.Url, name, attempt: TimeSpan.FromMinutes(2), configure: o => o.Queues = kind);
        await engine.StartAsync(1);
        await rabbit.HoldsAsync($"sagas.{name}");
        await rabbit.DeleteAsync($"sagas.{name}");
        var sagas = await engine.StartAsync(10);              // returned by RabbitMQ, since nothing takes it, and sent again
        await rabbit.HoldsAsync($"sagas.{name}");
        await using var seats = await RabbitStation.ParticipantAsync(rabbit.Url, name, configure: o => o.Queues = kind);
        await engine.EndAsync(sagas);
        // Under the participant's hands.
        await rabbit.DeleteAsync($"sagas.{name}");
        await engine.RunAsync(10);
    }

    [Fact]
    public async Task A_quorum_queue_that_somebody_deletes_and_makes_again_at_once_is_heard()
    {
        // RabbitMQ 3.10 mostly does not tell the consumer, and counts what comes as handed to it.
        var (rabbit, name) = (await RabbitServer.SharedAsync(), RabbitStation.Name());
        await using var seats = await RabbitStation.ParticipantAsync(rabbit.Url, name);
        await using var engine = await RabbitStation.EngineAsync(rabbit.Url, name, attempt: TimeSpan.FromMinutes(5));
        await engine.RunAsync(1);
        await rabbit.DeleteAsync($"sagas.{name}", again: true);
        await engine.RunAsync(10);
    }
}

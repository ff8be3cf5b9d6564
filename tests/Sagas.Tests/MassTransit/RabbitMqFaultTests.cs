using Microsoft.Extensions.Diagnostics.HealthChecks;
using Sagas.MassTransit;
using Sagas.Runtime;
using Shouldly;
using Xunit;

namespace Sagas.Tests.MassTransit;

/// <summary>A RabbitMQ that is old and strict, is killed, and runs out of memory: one server, broken and mended by one test after the other.</summary>
public sealed class RabbitMqFaultTests
{
    [Fact]
    public async Task Killed_and_started_again_RabbitMQ_is_taken_up_by_itself_and_no_saga_is_lost()
    {
        var (rabbit, name) = (await RabbitServer.OldAsync(), RabbitStation.Name());
        // It has classic queues only: 3.10, killed on a busy machine, may leave a quorum queue without a leader for good, and nothing that a client does helps it.
        await using var engine = await RabbitStation.EngineAsync(rabbit.Url, name);
        await engine.StartAsync(1);
        await rabbit.HoldsAsync($"sagas.{name}");
        await using var seats = await RabbitStation.ParticipantAsync(rabbit.Url, name);
        await engine.RunAsync(10);
        await rabbit.KillAsync();
        var sagas = await engine.StartAsync(200);                                      // started and committed without RabbitMQ
        (await engine.Engine.CountAsync(new SagaFilter())).Values.Sum().ShouldBe(211);
        await engine.LoggedAsync("cannot be reached");
        (await engine.HealthAsync()).ShouldBe(HealthStatus.Degraded);
        await rabbit.BeginAsync();
        await engine.EndAsync(sagas);
        (await engine.HealthAsync()).ShouldBe(HealthStatus.Healthy);
    }

    [Fact]
    public async Task A_server_without_memory_holds_up_sending_and_not_committing()
    {
        var (rabbit, name, time) = (await RabbitServer.OldAsync(), RabbitStation.Name(), new HastyTime());
        await using var seats = await RabbitStation.ParticipantAsync(rabbit.Url, name);
        await using var engine = await RabbitStation.EngineAsync(rabbit.Url, name, attempt: TimeSpan.FromMinutes(5), time: time);
        await engine.RunAsync(10);
        await rabbit.CtlAsync("set_vm_memory_high_watermark", "0");
        var sagas = await engine.StartAsync(50);
        (await engine.Engine.CountAsync(new SagaFilter())).Values.Sum().ShouldBe(60);
        time.Skip(TimeSpan.FromSeconds(6));
        (await engine.HealthAsync()).ShouldBe(HealthStatus.Degraded);
        await rabbit.CtlAsync("set_vm_memory_high_watermark", "0.4");
        await engine.EndAsync(sagas);
    }

    [Fact]
    public async Task An_old_server_with_TLS_user_and_password_makes_classic_queues()
    {
        var (rabbit, name) = (await RabbitServer.OldAsync(), RabbitStation.Name());
        void Reach(RabbitMqOptions o)
        {
            o.Url = $"amqps://127.0.0.1:{rabbit.TlsPort}";
            (o.Username, o.Password) = ("sagas", "p@ss/1");
            (o.Tls.ServerName, o.Tls.CaFile, o.Tls.CertificateFile, o.Tls.KeyFile) = ("rabbit.example", rabbit.Files.Authority, rabbit.Files.Client, rabbit.Files.ClientKey);
        }
        await using var engine = await RabbitStation.EngineAsync("", name, node: name, configure: Reach);
        await using var seats = await RabbitStation.ParticipantAsync("", name, configure: Reach);
        await engine.RunAsync(20);
        engine.Logged.ShouldContain(line => line.Contains("cannot be made as a quorum queue, and is made as a classic one", StringComparison.Ordinal));
        (await rabbit.QueuesAsync(name)).ShouldBe([$"sagas.replies.{name} classic", $"sagas.{name} classic"]);

        // Whom nobody trusts, and who is not the one he says he is, is not spoken to.
        foreach (var wrong in (Action<RabbitMqOptions>[])[o => o.Tls.CaFile = null, o => o.Tls.ServerName = "other.example"])
        {
            await using var wary = await RabbitStation.EngineAsync("", name, configure: o =>
            {
                Reach(o);
                wrong(o);
            });
            await wary.LoggedAsync("cannot be spoken to by TLS");
            wary.Logged.ShouldNotContain(line => line.Contains("p@ss", StringComparison.Ordinal));
        }
    }

    /// <summary>A clock that runs as others do, and can be put forward.</summary>
    private sealed class HastyTime : TimeProvider
    {
        private long _ahead;

        public override DateTimeOffset GetUtcNow() => base.GetUtcNow() + new TimeSpan(Interlocked.Read(ref _ahead));

        public void Skip(TimeSpan by) => Interlocked.Add(ref _ahead, by.Ticks);
    }
}

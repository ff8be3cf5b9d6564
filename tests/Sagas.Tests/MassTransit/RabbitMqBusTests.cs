using System.Collections.Concurrent;
using System.Text;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Options;
using Sagas.MassTransit;
using Sagas.Runtime;
using Shouldly;
using Xunit;

namespace Sagas.Tests.MassTransit;

/// <summary>Engine and participants in hosts of their own, joined by a real RabbitMQ.</summary>
public sealed class RabbitMqBusTests
{
    [Fact]
    public async Task Commands_wait_for_a_participant_that_starts_later()
    {
        var (rabbit, name) = (await RabbitServer.SharedAsync(), RabbitStation.Name());
        await using var engine = await RabbitStation.EngineAsync(rabbit.Url, name);
        var sagas = await engine.StartAsync(20);
        await rabbit.HoldsAsync($"sagas.{name}");
        await using var seats = await RabbitStation.ParticipantAsync(rabbit.Url, name);
        await engine.EndAsync(sagas);
    }

    [Fact]
    public async Task What_a_stopped_participant_leaves_another_takes_at_once()
    {
        var (rabbit, name) = (await RabbitServer.SharedAsync(), RabbitStation.Name());
        var (begun, release) = (new TaskCompletionSource(), new TaskCompletionSource());
        var first = await RabbitStation.ParticipantAsync(rabbit.Url, name, async cancel =>
        {
            begun.TrySetResult();
            await release.Task.WaitAsync(cancel);
            throw new IOException("This one has had its time.");
        }, concurrency: 1);
        await using var engine = await RabbitStation.EngineAsync(rabbit.Url, name, attempt: TimeSpan.FromMinutes(5));
        var sagas = await engine.StartAsync(3);
        await begun.Task.WaitAsync(RabbitStation.Soon);
        var stopping = first.DisposeAsync();
        release.SetResult();
        await stopping;
        await using var second = await RabbitStation.ParticipantAsync(rabbit.Url, name);
        await engine.EndAsync(sagas);
    }

    [Fact]
    public async Task A_participant_in_Node_over_plain_AMQP_takes_part()
    {
        var (rabbit, name) = (await RabbitServer.SharedAsync(), RabbitStation.Name());
        await using var node = await ServerProcess.StartAsync("node", [Path.Combine(AppContext.BaseDirectory, "participant.mjs"), $"{rabbit.Port}", name], "listening");
        await using var engine = await RabbitStation.EngineAsync(rabbit.Url, name);
        await engine.RunAsync(50);
        await engine.Engine.StartAsync("journey", new RabbitStation.Journey("XX404"), new SagaId("refused"));
        var refused = (await engine.Engine.WaitAsync(new SagaId("refused"), RabbitStation.Soon))!;
        refused.Status.ShouldBe(SagaStatus.Compensated);
        refused.Error!.Code.ShouldBe("sold-out");
    }

    [Fact]
    public async Task What_is_no_envelope_is_put_aside_listed_replayed_and_discarded()
    {
        var (rabbit, name) = (await RabbitServer.SharedAsync(), RabbitStation.Name());
        await using var engine = await RabbitStation.EngineAsync(rabbit.Url, name, node: name);
        await using var seats = await RabbitStation.ParticipantAsync(rabbit.Url, name);
        await engine.RunAsync(1);
        var letters = engine.Host.Services.GetRequiredService<IDeadLetters>();
        await rabbit.SendAsync($"sagas.{name}", "\u0001 no JSON");
        await rabbit.SendAsync($"sagas.replies.{name}", """{"items":[{"saga":"s1"}]}""");
        await seats.LoggedAsync("put among the dead letters");
        await engine.LoggedAsync("put among the dead letters");

        var queues = await engine.Host.Services.GetRequiredService<IBusMonitor>().QueuesAsync([name, "nobody"], default);
        queues.Select(queue => (queue.Name, queue.Consumers)).ShouldBe([($"sagas.{name}", 1), ($"sagas.replies.{name}", 1)]);

        var page = await letters.ListAsync(100, default);
        page.Count.ShouldBeGreaterThanOrEqualTo(2);
        var command = page.Items.Single(letter => letter.Queue == $"sagas.{name}");
        Encoding.UTF8.GetString(command.Body.Span).ShouldBe("\u0001 no JSON");
        page.Items.Single(letter => letter.Queue == $"sagas.replies.{name}").Reason.ShouldContain("has no 'step'");
        (await letters.ListAsync(1, default)).Items.Count.ShouldBe(1);

        (await letters.ReplayAsync(command.Id, default)).ShouldBeTrue();
        await seats.LoggedAsync("put among the dead letters", times: 2);      // it is still no envelope
        (await letters.ReplayAsync(command.Id, default)).ShouldBeFalse();
        foreach (var letter in await OursAsync()) (await letters.DiscardAsync(letter.Id, default)).ShouldBeTrue();
        (await OursAsync()).ShouldBeEmpty();

        async Task<DeadLetter[]> OursAsync() => [.. (await letters.ListAsync(500, default)).Items.Where(letter => letter.Queue.EndsWith(name, StringComparison.Ordinal))];
    }

    [Fact]
    public async Task An_envelope_that_nobody_survives_is_put_aside()
    {
        var (rabbit, name) = (await RabbitServer.SharedAsync(), RabbitStation.Name());
        await using var engine = await RabbitStation.EngineAsync(rabbit.Url, name, attempt: TimeSpan.FromMinutes(1));
        var sagas = await engine.StartAsync(1);
        await rabbit.HoldsAsync($"sagas.{name}");
        await rabbit.TakeAndGiveBackAsync($"sagas.{name}", EnvelopeFilter<CommandBatch>.MostDeliveries);
        await using var seats = await RabbitStation.ParticipantAsync(rabbit.Url, name);
        await seats.LoggedAsync("nobody came to an end with it");
        (await engine.Engine.FindAsync(sagas[0]))!.Status.ShouldBe(SagaStatus.Running);      // it asks again when the attempt is over
    }

    [Fact]
    public async Task A_wrong_password_is_reported_without_being_shown_and_the_host_runs()
    {
        var rabbit = await RabbitServer.SharedAsync();
        await using var engine = await RabbitStation.EngineAsync($"amqp://guest:Open-Sesame-1@127.0.0.1:{rabbit.Port}", "seats");
        await engine.LoggedAsync("refuses user 'guest' or the password. Look at Sagas:RabbitMq:Username");
        (await engine.Engine.StartAsync("journey", new RabbitStation.Journey("LX8"))).Outcome.ShouldBe(StartOutcome.Started);
        (await engine.HealthAsync()).ShouldBe(HealthStatus.Degraded);
        engine.Logged.ShouldNotContain(line => line.Contains("Open-Sesame", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Sagas_of_high_priority_overtake_those_that_wait_on_a_classic_queue()
    {
        var (rabbit, name) = (await RabbitServer.SharedAsync(), RabbitStation.Name());
        await using var engine = await RabbitStation.EngineAsync(rabbit.Url, name, attempt: TimeSpan.FromMinutes(5), configure: o => o.Queues = QueueKind.Classic);
        // One by one, so that each has an envelope of its own.
        var sagas = new List<SagaId>();
        for (var i = 1; i <= 6; i++)
        {
            var start = await engine.Engine.StartAsync(new StartRequest("journey", Payload.From(new RabbitStation.Journey("LX8"))) { Priority = i });
            sagas.Add(start.Saga!.Id);
            await rabbit.HoldsAsync($"sagas.{name}", i);
        }
        var tried = new ConcurrentQueue<string>();
        await using var seats = await RabbitStation.ParticipantAsync(rabbit.Url, name, concurrency: 1, configure: o => o.Prefetch = 1, seen: tried.Enqueue);
        await engine.EndAsync([.. sagas]);
        tried.ShouldBe(sagas.Select(id => id.Value).Reverse());
    }

    [Fact]
    public void Bad_settings_are_told_with_key_value_and_what_is_expected_and_no_password_is_shown()
    {
        Told(o => o.Url = "localhost:5672").ShouldContain("Sagas:RabbitMq:Url is 'localhost:5672'. Give amqp://host:port/virtual-host, or amqps:// for TLS.");
        Told(o => o.Url = "http://ann:Open-Sesame-1@rabbit").ShouldContain("Sagas:RabbitMq:Url is 'http://***@rabbit'.");
        Told(o => o.Url = "amqp://ann:Open/Sesame@rabbit/a/b").ShouldNotContain("Sesame");
        Told(o => o.Hosts.Add("a:b:c")).ShouldContain("Sagas:RabbitMq:Hosts has 'a:b:c'. Give host or host:port.");
        Told(o => o.Prefetch = 0).ShouldContain("Sagas:RabbitMq:Prefetch must lie between 1 and 65535 envelopes.");
        Told(o => o.Heartbeat = TimeSpan.Zero).ShouldContain("Sagas:RabbitMq:Heartbeat is 00:00:00. Give a time from 00:00:01 to 01:00:00.");
        Told(o => o.Tls.CaFile = "nowhere.pem").ShouldContain("Sagas:RabbitMq:Tls:CaFile is 'nowhere.pem', which is not there. Name a PEM file.");

        static string Told(Action<RabbitMqOptions> configure)
        {
            using var services = new ServiceCollection().AddLogging().AddSingleton<IConfiguration>(new ConfigurationBuilder().Build()).AddSagas(s => s.UseRabbitMq(configure)).BuildServiceProvider();
            return Should.Throw<OptionsValidationException>(() => services.GetRequiredService<IOptions<RabbitMqOptions>>().Value).Message;
        }
    }

    [Fact]
    public void Hosts_may_be_given_as_one_value_with_semicolons_and_code_wins()
    {
        var configuration = new ConfigurationBuilder().AddInMemoryCollection([new("Sagas:RabbitMq:Hosts", "a; b:5673"), new("Sagas:RabbitMq:Prefetch", "7"), new("Sagas:RabbitMq:Password", "Open-Sesame-1")]).Build();
        using var services = new ServiceCollection().AddLogging().AddSingleton<IConfiguration>(configuration).AddSagas(s => s.UseRabbitMq(o => o.Prefetch = 9)).BuildServiceProvider();
        var options = services.GetRequiredService<IOptions<RabbitMqOptions>>().Value;
        (options.ToString(), options.Prefetch).ShouldBe(("amqp://a:5672,b:5673", 9));
    }

    [Fact]
    public async Task No_TLS_and_no_such_virtual_host_are_said_as_what_they_are()
    {
        var rabbit = await RabbitServer.SharedAsync();
        await using var coded = await RabbitStation.ParticipantAsync($"amqps://127.0.0.1:{rabbit.Port}", "seats");
        await coded.LoggedAsync("cannot be spoken to by TLS: ");
        await using var astray = await RabbitStation.ParticipantAsync($"{rabbit.Url}/nowhere", "seats");
        await astray.LoggedAsync("cannot be reached: NOT_ALLOWED - vhost nowhere not found. Is it running, and is Sagas:RabbitMq:Url right?");
    }

    [Fact]
    public async Task A_server_that_is_not_there_is_reported_without_the_password()
    {
        await using var seats = await RabbitStation.ParticipantAsync($"amqp://guest:Open-Sesame-1@127.0.0.1:{Servers.FreePorts(1)[0]}", "seats");
        await seats.LoggedAsync("cannot be reached");
        seats.Logged.ShouldNotContain(line => line.Contains("Open-Sesame", StringComparison.Ordinal));
    }
}

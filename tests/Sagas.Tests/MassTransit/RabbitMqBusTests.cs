using System.Collections.Concurrent;
using System.Text;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Sagas.MassTransit;
using Sagas.Participants;
using Sagas.Runtime;
using Shouldly;
using Xunit;

namespace Sagas.Tests.MassTransit;

/// <summary>Engine and participants in hosts of their own, joined by a real RabbitMQ.</summary>
public sealed class RabbitMqBusTests
{
    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(60);

    [Fact]
    public async Task Sagas_run_over_quorum_queues_and_no_others_are_made()
    {
        var (rabbit, name) = (await RabbitServer.SharedAsync(), Name());
        await using var seats = await Station.ParticipantAsync(rabbit.Url, name);
        await using var engine = await Station.EngineAsync(rabbit.Url, name, node: name);
        await engine.RunAsync(100);
        (await rabbit.QueuesAsync(name)).ShouldBe([$"sagas.replies.{name} quorum", $"sagas.{name} quorum"]);
        (await rabbit.QueuesAsync("")).ShouldAllBe(queue => queue.StartsWith("sagas.", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Queues_are_classic_where_they_are_asked_to_be_and_stay_what_they_are()
    {
        var (rabbit, name) = (await RabbitServer.SharedAsync(), Name());
        await using var engine = await Station.EngineAsync(rabbit.Url, name, node: name, configure: o => o.Queues = QueueKind.Classic);
        var sagas = await engine.StartAsync(1);
        await rabbit.HoldsAsync($"sagas.{name}");
        await using var seats = await Station.ParticipantAsync(rabbit.Url, name);
        await engine.EndAsync(sagas);
        (await rabbit.QueuesAsync(name)).ShouldBe([$"sagas.replies.{name} classic", $"sagas.{name} classic"]);
    }

    [Fact]
    public async Task Commands_wait_for_a_participant_that_starts_later()
    {
        var (rabbit, name) = (await RabbitServer.SharedAsync(), Name());
        await using var engine = await Station.EngineAsync(rabbit.Url, name);
        var sagas = await engine.StartAsync(20);
        await rabbit.HoldsAsync($"sagas.{name}");
        await using var seats = await Station.ParticipantAsync(rabbit.Url, name);
        await engine.EndAsync(sagas);
    }

    [Theory]
    [InlineData(QueueKind.Quorum)]
    [InlineData(QueueKind.Classic)]
    public async Task A_queue_that_somebody_deletes_is_made_again_and_what_was_sent_to_it_is_not_lost(QueueKind kind)
    {
        var (rabbit, name) = (await RabbitServer.SharedAsync(), Name());
        await using var engine = await Station.EngineAsync(rabbit.Url, name, attempt: TimeSpan.FromMinutes(2), configure: o => o.Queues = kind);
        await engine.StartAsync(1);
        await rabbit.HoldsAsync($"sagas.{name}");
        await rabbit.DeleteAsync($"sagas.{name}");
        var sagas = await engine.StartAsync(10);              // returned by RabbitMQ, since nothing takes it, and sent again
        await rabbit.HoldsAsync($"sagas.{name}");
        await using var seats = await Station.ParticipantAsync(rabbit.Url, name, configure: o => o.Queues = kind);
        await engine.EndAsync(sagas);
        // Under the participant's hands.
        await rabbit.DeleteAsync($"sagas.{name}");
        await engine.RunAsync(10);
    }

    [Fact]
    public async Task A_quorum_queue_that_somebody_deletes_and_makes_again_at_once_is_heard()
    {
        // RabbitMQ 3.10 mostly does not tell the consumer, and counts what comes as handed to it.
        var (rabbit, name) = (await RabbitServer.SharedAsync(), Name());
        await using var seats = await Station.ParticipantAsync(rabbit.Url, name);
        await using var engine = await Station.EngineAsync(rabbit.Url, name, attempt: TimeSpan.FromMinutes(5));
        await engine.RunAsync(1);
        await rabbit.DeleteAsync($"sagas.{name}", again: true);
        await engine.RunAsync(10);
    }

    [Fact]
    public async Task What_a_stopped_participant_leaves_another_takes_at_once()
    {
        var (rabbit, name) = (await RabbitServer.SharedAsync(), Name());
        var (begun, release) = (new TaskCompletionSource(), new TaskCompletionSource());
        var first = await Station.ParticipantAsync(rabbit.Url, name, async cancel =>
        {
            begun.TrySetResult();
            await release.Task.WaitAsync(cancel);
            throw new IOException("This one has had its time.");
        }, concurrency: 1);
        await using var engine = await Station.EngineAsync(rabbit.Url, name, attempt: TimeSpan.FromMinutes(5));
        var sagas = await engine.StartAsync(3);
        await begun.Task.WaitAsync(Soon);
        var stopping = first.DisposeAsync();
        release.SetResult();
        await stopping;
        await using var second = await Station.ParticipantAsync(rabbit.Url, name);
        await engine.EndAsync(sagas);
    }

    [Fact]
    public async Task A_participant_in_Node_over_plain_AMQP_takes_part()
    {
        var (rabbit, name) = (await RabbitServer.SharedAsync(), Name());
        await using var node = await ServerProcess.StartAsync("node", [Path.Combine(AppContext.BaseDirectory, "participant.mjs"), $"{rabbit.Port}", name], "listening");
        await using var engine = await Station.EngineAsync(rabbit.Url, name);
        await engine.RunAsync(50);
        await engine.Engine.StartAsync("journey", new Journey("XX404"), new SagaId("refused"));
        var refused = (await engine.Engine.WaitAsync(new SagaId("refused"), Soon))!;
        refused.Status.ShouldBe(SagaStatus.Compensated);
        refused.Error!.Code.ShouldBe("sold-out");
    }

    [Fact]
    public async Task What_is_no_envelope_is_put_aside_listed_replayed_and_discarded()
    {
        var (rabbit, name) = (await RabbitServer.SharedAsync(), Name());
        await using var engine = await Station.EngineAsync(rabbit.Url, name, node: name);
        await using var seats = await Station.ParticipantAsync(rabbit.Url, name);
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
        var (rabbit, name) = (await RabbitServer.SharedAsync(), Name());
        await using var engine = await Station.EngineAsync(rabbit.Url, name, attempt: TimeSpan.FromMinutes(1));
        var sagas = await engine.StartAsync(1);
        await rabbit.HoldsAsync($"sagas.{name}");
        await rabbit.TakeAndGiveBackAsync($"sagas.{name}", EnvelopeFilter<CommandBatch>.MostDeliveries);
        await using var seats = await Station.ParticipantAsync(rabbit.Url, name);
        await seats.LoggedAsync("nobody came to an end with it");
        (await engine.Engine.FindAsync(sagas[0]))!.Status.ShouldBe(SagaStatus.Running);      // it asks again when the attempt is over
    }

    [Fact]
    public async Task Killed_and_started_again_RabbitMQ_is_taken_up_by_itself_and_no_saga_is_lost()
    {
        var (rabbit, name) = (await RabbitServer.ToBreakAsync(), Name());
        // Classic queues: RabbitMQ 3.10, killed on a busy machine, may leave a quorum queue without a leader for good, and nothing that a client does helps it.
        await using var engine = await Station.EngineAsync(rabbit.Url, name, configure: o => o.Queues = QueueKind.Classic);
        await engine.StartAsync(1);
        await rabbit.HoldsAsync($"sagas.{name}");
        await using var seats = await Station.ParticipantAsync(rabbit.Url, name);
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
        var (rabbit, name) = (await RabbitServer.ToBreakAsync(), Name());
        await using var seats = await Station.ParticipantAsync(rabbit.Url, name);
        await using var engine = await Station.EngineAsync(rabbit.Url, name);
        await engine.RunAsync(10);
        await rabbit.CtlAsync("set_vm_memory_high_watermark", "0");
        var sagas = await engine.StartAsync(50);
        (await engine.Engine.CountAsync(new SagaFilter())).Values.Sum().ShouldBe(60);
        while (await engine.HealthAsync() != HealthStatus.Degraded) await Task.Yield();
        await rabbit.CtlAsync("set_vm_memory_high_watermark", "0.4");
        await engine.EndAsync(sagas);
    }

    [Fact]
    public async Task A_wrong_password_is_reported_without_being_shown_and_the_host_runs()
    {
        var rabbit = await RabbitServer.SharedAsync();
        await using var engine = await Station.EngineAsync($"amqp://guest:Open-Sesame-1@127.0.0.1:{rabbit.Port}", "seats");
        await engine.LoggedAsync("refuses user 'guest' or the password. Look at Sagas:RabbitMq:Username");
        (await engine.Engine.StartAsync("journey", new Journey("LX8"))).Outcome.ShouldBe(StartOutcome.Started);
        (await engine.HealthAsync()).ShouldBe(HealthStatus.Degraded);
        engine.Logged.ShouldNotContain(line => line.Contains("Open-Sesame", StringComparison.Ordinal));
    }

    [Fact]
    public async Task An_old_server_with_TLS_user_and_password_makes_classic_queues()
    {
        await using var rabbit = await RabbitServer.StartOldAsync();
        var name = Name();
        void Reach(RabbitMqOptions o)
        {
            o.Url = $"amqps://127.0.0.1:{rabbit.TlsPort}";
            (o.Username, o.Password) = ("sagas", "p@ss/1");
            (o.Tls.ServerName, o.Tls.CaFile, o.Tls.CertificateFile, o.Tls.KeyFile) = ("rabbit.example", rabbit.Files.Authority, rabbit.Files.Client, rabbit.Files.ClientKey);
        }
        await using var engine = await Station.EngineAsync("", name, node: name, configure: Reach);
        await using var seats = await Station.ParticipantAsync("", name, configure: Reach);
        await engine.RunAsync(20);
        engine.Logged.ShouldContain(line => line.Contains("cannot be made as a quorum queue, and is made as a classic one", StringComparison.Ordinal));
        (await rabbit.QueuesAsync(name)).ShouldBe([$"sagas.replies.{name} classic", $"sagas.{name} classic"]);

        // Whom nobody trusts, and who is not the one he says he is, is not spoken to.
        foreach (var wrong in (Action<RabbitMqOptions>[])[o => o.Tls.CaFile = null, o => o.Tls.ServerName = "other.example"])
        {
            await using var wary = await Station.EngineAsync("", name, configure: o =>
            {
                Reach(o);
                wrong(o);
            });
            await wary.LoggedAsync("cannot be reached");
            wary.Logged.ShouldNotContain(line => line.Contains("p@ss", StringComparison.Ordinal));
        }
    }

    [Fact]
    public async Task Sagas_of_high_priority_overtake_those_that_wait_on_a_classic_queue()
    {
        var (rabbit, name) = (await RabbitServer.SharedAsync(), Name());
        await using var engine = await Station.EngineAsync(rabbit.Url, name, attempt: TimeSpan.FromMinutes(5), configure: o => o.Queues = QueueKind.Classic);
        // One by one, so that each has an envelope of its own.
        var sagas = new List<SagaId>();
        for (var i = 1; i <= 6; i++)
        {
            var start = await engine.Engine.StartAsync(new StartRequest("journey", Payload.From(new Journey("LX8"))) { Priority = i });
            sagas.Add(start.Saga!.Id);
            await rabbit.HoldsAsync($"sagas.{name}", i);
        }
        var tried = new ConcurrentQueue<string>();
        await using var seats = await Station.ParticipantAsync(rabbit.Url, name, concurrency: 1, configure: o => o.Prefetch = 1, seen: tried.Enqueue);
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
    public async Task A_server_that_is_not_there_is_reported_without_the_password()
    {
        await using var seats = await Station.ParticipantAsync($"amqp://guest:Open-Sesame-1@127.0.0.1:{Servers.FreePorts(1)[0]}", "seats");
        await seats.LoggedAsync("cannot be reached");
        seats.Logged.ShouldNotContain(line => line.Contains("Open-Sesame", StringComparison.Ordinal));
    }

    private static string Name() => $"seats-{Guid.NewGuid():N}"[..20];

    internal sealed record Journey(string Flight);
    internal sealed record Place(string Id);
    internal sealed record ReservePlace(string Flight) : ITryCommand<ReservePlace, Place>;

    [Saga("journey")]
    internal sealed class Travel(string participant, TimeSpan attempt) : Saga<Journey, Place>
    {
        public Travel() : this("seats", TimeSpan.FromSeconds(5)) { }

        protected override SagaEnd<Place> Define(Flow<Journey> saga)
        {
            var place = saga.Tcc(c => new ReservePlace(c.Input.Flight)).To(participant).Timeout(attempt).Retry(20, TimeSpan.FromMilliseconds(100), TimeSpan.FromSeconds(1));
            return saga.Complete(c => c.Get(place));
        }
    }

    /// <summary>What a reservation waits for, and who hears of it.</summary>
    internal sealed record Door(Func<CancellationToken, Task> Before, Action<string> Seen);

    internal sealed class Places(Door door) : ITccHandler<ReservePlace, Place>
    {
        public async Task<Place> TryAsync(ReservePlace command, CommandContext context, CancellationToken cancel)
        {
            door.Seen(context.Saga.ToString());
            await door.Before(cancel);
            return new Place($"place:{context.Saga}");
        }

        public Task ConfirmAsync(ReservePlace command, Place? reservation, CommandContext context, CancellationToken cancel) => Task.CompletedTask;

        public Task CancelAsync(ReservePlace command, Place? reservation, CommandContext context, CancellationToken cancel) => Task.CompletedTask;
    }

    /// <summary>A host with an engine, or one with a participant.</summary>
    private sealed class Station : IAsyncDisposable
    {
        private readonly SemaphoreSlim _written = new(0);

        public required IHost Host { get; init; }
        public required Notes Log { get; init; }
        public ConcurrentQueue<string> Logged => Log.Lines;
        public SagaEngine Engine => Host.Services.GetRequiredService<SagaEngine>();

        public static Task<Station> EngineAsync(string url, string participant, string? node = null, TimeSpan? attempt = null, Action<RabbitMqOptions>? configure = null) =>
            StartAsync(services => services.AddSagas(s =>
            {
                s.AddSaga(new Travel(participant, attempt ?? TimeSpan.FromSeconds(5))).UseMemoryStore().UseRabbitMq(o =>
                {
                    o.Url = url;
                    configure?.Invoke(o);
                });
                s.Configure(o => o.Node = node ?? Name());
            }));

        public static Task<Station> ParticipantAsync(string url, string name, Func<CancellationToken, Task>? before = null, int concurrency = 64, Action<RabbitMqOptions>? configure = null,
            Action<string>? seen = null) => StartAsync(services =>
        {
            services.AddSingleton(new Door(before ?? (_ => Task.CompletedTask), seen ?? (_ => { })));
            services.AddSagaParticipants(p => p.Add<Places>(name).WithConcurrency(concurrency).UseRabbitMq(o =>
            {
                o.Url = url;
                configure?.Invoke(o);
            }));
        });

        private static async Task<Station> StartAsync(Action<IServiceCollection> add)
        {
            var log = new Notes();
            var builder = Microsoft.Extensions.Hosting.Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
            builder.Logging.AddProvider(log);
            add(builder.Services);
            var station = new Station { Host = builder.Build(), Log = log };
            await station.Host.StartAsync();
            return station;
        }

        /// <summary>Starts so many sagas and waits until each has completed.</summary>
        public async Task RunAsync(int count) => await EndAsync(await StartAsync(count));

        /// <summary>Starts so many sagas: they are committed when this returns.</summary>
        public async Task<SagaId[]> StartAsync(int count)
        {
            var starts = await Task.WhenAll(Enumerable.Range(0, count).Select(i => Engine.StartAsync("journey", new Journey("LX8"), new SagaId($"{Guid.NewGuid():N}")).AsTask()));
            starts.ShouldAllBe(start => start.Outcome == StartOutcome.Started);
            return [.. starts.Select(start => start.Saga!.Id)];
        }

        /// <summary>Waits until each has completed.</summary>
        public async Task EndAsync(SagaId[] sagas)
        {
            foreach (var id in sagas) (await Engine.WaitAsync(id, Soon))!.Status.ShouldBe(SagaStatus.Completed, string.Join('\n', Logged.TakeLast(20)));
        }

        public async Task<HealthStatus> HealthAsync() => (await Host.Services.GetRequiredService<HealthCheckService>().CheckHealthAsync()).Entries["sagas-rabbitmq"].Status;

        /// <summary>Returns when so many lines with that text are in the log.</summary>
        public Task LoggedAsync(string text, int times = 1) => Log.WaitAsync(text, times).WaitAsync(Soon);

        public async ValueTask DisposeAsync()
        {
            await Host.StopAsync();
            await ((IAsyncDisposable)Host).DisposeAsync();
        }
    }

    private sealed class Notes : ILoggerProvider, ILogger
    {
        private readonly ConcurrentDictionary<TaskCompletionSource, (string Text, int Times)> _waiting = [];

        public ConcurrentQueue<string> Lines { get; } = new();

        public Task WaitAsync(string text, int times)
        {
            var come = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            _waiting[come] = (text, times);
            Check();
            return come.Task;
        }

        public ILogger CreateLogger(string categoryName) => this;
        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;
        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Information;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            Lines.Enqueue($"{formatter(state, exception)} {exception}");
            Check();
        }

        public void Dispose() { }

        private void Check()
        {
            foreach (var (come, (text, times)) in _waiting)
                if (Lines.Count(line => line.Contains(text, StringComparison.Ordinal)) >= times) come.TrySetResult();
        }
    }
}

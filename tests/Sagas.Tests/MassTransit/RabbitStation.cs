using System.Collections.Concurrent;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Sagas.MassTransit;
using Sagas.Participants;
using Sagas.Runtime;
using Shouldly;

namespace Sagas.Tests.MassTransit;

/// <summary>A host with an engine, or one with a participant.</summary>
internal sealed class RabbitStation : IAsyncDisposable
{
    /// <summary>Longer than anything takes.</summary>
    public static readonly TimeSpan Soon = TimeSpan.FromSeconds(60);

    /// <summary>A name for a participant, and its queue, that no other test uses.</summary>
    public static string Name() => $"seats-{Guid.NewGuid():N}"[..20];

    public required IHost Host { get; init; }
    public required Notes Log { get; init; }
    public ConcurrentQueue<string> Logged => Log.Lines;
    public SagaEngine Engine => Host.Services.GetRequiredService<SagaEngine>();

    public static Task<RabbitStation> EngineAsync(string url, string participant, string? node = null, TimeSpan? attempt = null, Action<RabbitMqOptions>? configure = null,
        TimeProvider? time = null) => StartAsync(services => (time is null ? services : services.AddSingleton(time)).AddSagas(s =>
        {
            s.AddSaga(new Travel(participant, attempt ?? TimeSpan.FromSeconds(5))).UseMemoryStore().UseRabbitMq(o =>
            {
                o.Url = url;
                configure?.Invoke(o);
            });
            s.Configure(o => (o.Node, o.DrainTimeout) = (node ?? Name(), TimeSpan.FromSeconds(1)));
        }));

    public static Task<RabbitStation> ParticipantAsync(string url, string name, Func<CancellationToken, Task>? before = null, int concurrency = 64, Action<RabbitMqOptions>? configure = null,
        Action<string>? seen = null) => StartAsync(services =>
    {
        services.AddSingleton(new Door(before ?? (_ => Task.CompletedTask), seen ?? (_ => { })));
        services.AddSagaParticipants(p => p.Add<Places>(name).WithConcurrency(concurrency).UseRabbitMq(o =>
        {
            o.Url = url;
            configure?.Invoke(o);
        }));
    });

    private static async Task<RabbitStation> StartAsync(Action<IServiceCollection> add)
    {
        var log = new Notes();
        var builder = Microsoft.Extensions.Hosting.Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
        builder.Logging.AddProvider(log);
        add(builder.Services);
        var station = new RabbitStation { Host = builder.Build(), Log = log };
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
    private sealed record Door(Func<CancellationToken, Task> Before, Action<string> Seen);

    private sealed class Places(Door door) : ITccHandler<ReservePlace, Place>
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

    internal sealed class Notes : ILoggerProvider, ILogger
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

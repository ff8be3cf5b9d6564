using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using Sagas.Participants;
using Sagas.Runtime;
using Sagas.Testing.Simulator;

namespace Sagas.Testing;

/// <summary>
/// Your sagas and participants in one process, with the production engine, on a clock that stands still until <see cref="Advance"/> moves it. Independent of
/// the test framework: what should be and is not throws a <see cref="SagaTestException"/> that tells the saga's story.
/// </summary>
/// <example><code>
/// await using var test = new SagaTest([new BookTrip()], p => p.Add&lt;Seats&gt;("seats").Add&lt;Rooms&gt;("rooms"));
/// var trip = await test.StartAsync("book-trip", new TripRequest(...));
/// await test.Advance(3.Days());
/// trip.ShouldHaveCompleted();
/// </code></example>
public sealed class SagaTest : IAsyncDisposable
{
    private readonly Saga[] _sagas;
    private readonly ServiceProvider _services;
    private readonly ParticipantRegistry _registry;
    private readonly SagasOptions _options;
    private readonly Scheduler _world;
    private readonly MemoryStore _store = new();
    private readonly TestBarrier _barrier;
    private readonly List<string> _moments = [];
    private Process _engineProcess, _hostProcess;
    private SagaEngine _engine = null!;
    private ParticipantHost _host = null!;
    private int? _crashAt;
    private int _started;

    /// <summary>An engine with these sagas, and the participants that carry out their commands.</summary>
    /// <param name="sagas">The definitions.</param>
    /// <param name="participants">Adds them: <c>p => p.Add&lt;Seats&gt;("seats")</c>. What was answered is kept through crashes, whatever barrier is named.</param>
    /// <param name="services">What the handlers need; a <see cref="TimeProvider"/> on the test's clock is there.</param>
    /// <param name="configure">The engine's options.</param>
    /// <exception cref="DefinitionException">A definition is wrong, with all faults.</exception>
    public SagaTest(IEnumerable<Saga> sagas, Action<ParticipantsBuilder> participants, Action<IServiceCollection>? services = null, Action<SagasOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(participants);
        _sagas = [.. sagas];
        _world = new Scheduler(0, IsBusy);
        _engineProcess = new Process(_world, "engine");
        _hostProcess = new Process(_world, "participants");
        _barrier = new TestBarrier(this, new MemoryBarrier(TimeSpan.FromDays(365), new HostTime(this)));
        var collection = new ServiceCollection();
        services?.Invoke(collection);
        collection.AddSingleton<TimeProvider>(new HostTime(this));
        collection.AddSagaParticipants(participants);
        collection.AddSagaParticipants(p => p.UseBarrier(_ => _barrier));
        _registry = (ParticipantRegistry)collection.Last(service => service.ServiceType == typeof(ParticipantRegistry)).ImplementationInstance!;
        _services = collection.BuildServiceProvider();
        _options = new SagasOptions { Node = "test", Workers = 1, Retention = TimeSpan.FromDays(36500) };
        configure?.Invoke(_options);
        _ = new DefinitionCatalog(_sagas, _services.GetServices<CommandRoute>(), _options.StuckAfter);
        OpenHost();
        OpenEngine();
        Run(TimeSpan.Zero);
    }

    /// <summary>The test's clock.</summary>
    public DateTimeOffset Now => _world.Now;

    /// <summary>The services of the handlers.</summary>
    public IServiceProvider Services => _services;

    /// <summary>Starts a saga and lets everything happen that can happen while the clock stands still.</summary>
    /// <param name="definition">The definition's name.</param>
    /// <param name="input">Its input.</param>
    /// <param name="id">The saga's id; null: <c>saga-1</c> and so on.</param>
    /// <exception cref="SagaTestException">The engine does not take it.</exception>
    public Task<SagaRun> StartAsync<TInput>(string definition, TInput input, string? id = null)
    {
        var request = new StartRequest(definition, Payload.From(input)) { Id = new SagaId(id ?? $"saga-{++_started}") };
        var result = Ask(engine => engine.StartAsync(request));
        return result.Outcome is StartOutcome.Started or StartOutcome.Exists
            ? Task.FromResult(new SagaRun(this, request.Id.Value))
            : throw new SagaTestException($"Saga '{request.Id}' was not started: {result.Outcome}. {result.Problem}");
    }

    /// <summary>Moves the clock on, and lets everything happen that is due on the way.</summary>
    public Task Advance(TimeSpan by)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(by, TimeSpan.Zero);
        Run(by);
        return Task.CompletedTask;
    }

    /// <summary>An operator's request, such as <c>new SagaEvent.CancelRequested("why", "who")</c>.</summary>
    public Task<RequestResult> RequestAsync(SagaRun saga, SagaEvent request)
    {
        ArgumentNullException.ThrowIfNull(saga);
        return Task.FromResult(Ask(engine => engine.RequestAsync(saga.Id, request)));
    }

    /// <summary>The engine's process dies with all it has not stored, and a new one goes on.</summary>
    public void CrashEngine()
    {
        _engineProcess.Kill();
        _engine.CloseGauges();
        _engineProcess = new Process(_world, "engine");
        OpenEngine();
    }

    /// <summary>The participants' process dies; what their barrier has noted, and what handlers keep outside the process, stays.</summary>
    public void CrashParticipants()
    {
        _hostProcess.Kill();
        _hostProcess = new Process(_world, "participants");
        OpenHost();
    }

    /// <summary>
    /// Runs a story once as it is, and then once for each moment at which engine or participants can crash in it, with a crash at that moment: before and after
    /// each commit, each send and each of the barrier's notes. Whatever the story asserts must hold each time. Returns the number of crashes.
    /// </summary>
    /// <param name="make">Makes a fresh test, with fresh participants.</param>
    /// <param name="story">Starts, advances, asserts.</param>
    /// <exception cref="SagaTestException">The story fails with one of the crashes; says which.</exception>
    public static async Task<int> CrashAtEveryStep(Func<SagaTest> make, Func<SagaTest, Task> story)
    {
        ArgumentNullException.ThrowIfNull(make);
        ArgumentNullException.ThrowIfNull(story);
        var crash = 0;
        for (var moments = int.MaxValue; crash <= moments; crash++)
        {
            await using var test = make();
            test._moments.Clear();
            test._crashAt = crash;
            try
            {
                await story(test);
            }
            catch (Exception e)
            {
                throw new SagaTestException(crash == 0 ? $"The story fails without any crash. {e.Message}"
                    : $"The story fails when a process crashes at moment {crash}, {(crash <= test._moments.Count ? test._moments[crash - 1] : "which it did not come to")}: {e.Message}", e);
            }
            if (crash == 0) moments = test._moments.Count;
        }
        return crash - 1;
    }

    /// <summary>Ends the test; nothing goes on.</summary>
    public async ValueTask DisposeAsync()
    {
        _engineProcess.Kill();
        _hostProcess.Kill();
        _engine.CloseGauges();
        await _services.DisposeAsync();
    }

    internal SagaState? Find(SagaId id) => Completed(_store.FindAsync(id, CancellationToken.None));

    internal IReadOnlyList<HistoryEntry> History(SagaId id) => Completed(_store.HistoryAsync(id, 0, int.MaxValue, CancellationToken.None)) ?? [];

    internal SagaDefinition Definition(SagaState saga) => _engine.FindDefinition(saga.Definition, saga.DefinitionVersion)!;

    private static T Completed<T>(ValueTask<T> answer) => answer.IsCompleted ? answer.Result : throw new InvalidOperationException("A store in memory answers at once.");

    private void OpenEngine()
    {
        var process = _engineProcess;
        _engine = new SagaEngine(new DefinitionCatalog(_sagas, _services.GetServices<CommandRoute>(), _options.StuckAfter), new TestStore(this, process, _store), new TestTransport(this, process),
            Options.Create(_options), process, NullLogger<SagaEngine>.Instance);
        var engine = _engine;
        _world.Post(process, () => _ = engine.StartAsync(CancellationToken.None));
    }

    private void OpenHost()
    {
        var host = _host = new ParticipantHost(_registry, _services, NullLogger<ParticipantHost>.Instance);
        _world.Post(_hostProcess, () => _ = host.StartingAsync(CancellationToken.None));
    }

    /// <summary>Asks until the engine answers: one that crashes meanwhile is asked again when it is back.</summary>
    private T Ask<T>(Func<SagaEngine, ValueTask<T>> ask)
    {
        for (var tries = 0; tries < 10; tries++)
        {
            var answer = new TaskCompletionSource<T>();
            var process = _engineProcess;
            _world.Post(process, async () =>
            {
                try
                {
                    var heard = await ask(_engine);
                    if (process.Alive) answer.TrySetResult(heard);
                }
                catch (StoreUnavailableException)
                {
                    // Asked again.
                }
            });
            Run(TimeSpan.Zero);
            if (answer.Task.IsCompleted) return answer.Task.Result;
        }
        throw new SagaTestException("The engine does not answer.");
    }

    private void Run(TimeSpan time)
    {
        // Without the test framework's context, which would take the engine's continuations to other threads.
        var context = SynchronizationContext.Current;
        SynchronizationContext.SetSynchronizationContext(null);
        try
        {
            _world.RunUntil(_world.Now + time);
        }
        finally
        {
            SynchronizationContext.SetSynchronizationContext(context);
        }
    }

    /// <summary>
    /// Whether a handler works on something that is not the test's clock. Each that is not done at once has a timer for its deadline; one that waits by the
    /// clock has another.
    /// </summary>
    private bool IsBusy() => _host.Running is > 0 and var running && _world.Timers(_hostProcess) < 2 * running;

    /// <summary>A moment at which a process can die. Whoever awaits this in a process that does never goes on.</summary>
    private Task Moment(Process process, string what)
    {
        if (!process.Alive) return Simulator.World.Never;
        _moments.Add(what);
        if (_moments.Count != _crashAt) return Task.CompletedTask;
        if (process == _engineProcess) CrashEngine();
        else CrashParticipants();
        return Simulator.World.Never;
    }

    private static string Named(CommandItem item) => $"{item.Phase.Word()} of '{item.Step}'";

    private sealed class TestTransport(SagaTest test, Process process) : ITransport
    {
        public string ReplyTo => "sagas.replies.test";

        public async Task SendAsync(string participant, CommandBatch batch, CancellationToken cancel)
        {
            await test.Moment(process, $"the engine, before it sends {string.Join(", ", batch.Items.Select(Named))}");
            var message = JsonSerializer.SerializeToUtf8Bytes(batch, SagaJson.Options);
            test._world.Post(null, () => test.Deliver(participant, message));
            await test.Moment(process, $"the engine, after it has sent {string.Join(", ", batch.Items.Select(Named))}");
        }
    }

    private void Deliver(string participant, byte[] message)
    {
        var process = _hostProcess;
        _world.Post(process, () => _ = _host.AcceptAsync(participant, JsonSerializer.Deserialize<CommandBatch>(message, SagaJson.Options)!, ReplyAsync).AsTask());
    }

    private async Task ReplyAsync(string queue, ReplyBatch batch, CancellationToken cancel)
    {
        await Moment(_hostProcess, $"the participants, before they reply to {string.Join(", ", batch.Items.Select(item => $"{item.Phase.Word()} of '{item.Step}'"))}");
        var message = JsonSerializer.SerializeToUtf8Bytes(batch, SagaJson.Options);
        _world.Post(_engineProcess, () => _ = _engine.ReceiveAsync(JsonSerializer.Deserialize<ReplyBatch>(message, SagaJson.Options)!, CancellationToken.None).AsTask());
    }

    /// <summary>The clock as handlers and the barrier see it: that of the participants' present process.</summary>
    private sealed class HostTime(SagaTest test) : Journal.VirtualTime
    {
        public override DateTimeOffset GetUtcNow() => test._hostProcess.GetUtcNow();

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => test._hostProcess.GetTimestamp();

        public override void Queue(Action work) => test._hostProcess.Queue(work);

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) => test._hostProcess.CreateTimer(callback, state, dueTime, period);
    }

    private sealed class TestStore(SagaTest test, Process process, ISagaStore inner) : DelegatingSagaStore(inner)
    {
        public override async ValueTask<ImmutableArray<CommitOutcome>> CommitAsync(IReadOnlyList<SagaCommit> commits, CancellationToken cancel)
        {
            var what = string.Join(", ", commits.Select(commit => $"{commit.State.Id} as {commit.State.Status}"));
            await test.Moment(process, $"the engine, before it commits {what}");
            var outcomes = await base.CommitAsync(commits, cancel);
            await test.Moment(process, $"the engine, after it has committed {what}");
            return outcomes;
        }

        public override ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }

    private sealed class TestBarrier(SagaTest test, IBarrierStore inner) : IBarrierStore
    {
        public ValueTask OpenAsync(CancellationToken cancel) => ValueTask.CompletedTask;

        public ValueTask<BarrierRow?> FindAsync(string saga, string step, CancellationToken cancel) => inner.FindAsync(saga, step, cancel);

        public async ValueTask WriteAsync(BarrierRow row, CancellationToken cancel)
        {
            var process = test._hostProcess;
            await test.Moment(process, $"the participants, before '{row.Step}' is noted as {Noted(row)}");
            await inner.WriteAsync(row, cancel);
            await test.Moment(process, $"the participants, after '{row.Step}' was noted as {Noted(row)}");
        }

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;

        private static string Noted(BarrierRow row) => row.Second is { } second ? $"{second.Word()} {(row.SecondDone ? "done" : "begun")}" : row.Forward.ToString().ToLower(CultureInfo.InvariantCulture);
    }
}

/// <summary>What a test of sagas expected is not so, or the test cannot go on; the message tells the saga's story.</summary>
public sealed class SagaTestException(string message, Exception? inner = null) : Exception(message, inner);

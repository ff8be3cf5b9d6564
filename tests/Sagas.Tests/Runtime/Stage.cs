using System.Collections.Immutable;
using System.Threading.Channels;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using Sagas.Runtime;
using Sagas.Tests.Heart;

namespace Sagas.Tests.Runtime;

/// <summary>One engine on a manual clock, with a store that can be told to fail and a bus whose other end is the test.</summary>
internal sealed class Stage : IAsyncDisposable
{
    public Stage(ISagaStore? store = null, Action<SagasOptions>? configure = null, DefinitionCatalog? definitions = null)
    {
        Store = new StubbornStore(store ?? new MemoryStore());
        var options = new SagasOptions { Workers = 2 };
        configure?.Invoke(options);
        definitions ??= new DefinitionCatalog([new Pair(), new Row(), new Heart.Trip(), new Plain()], [], options.StuckAfter);
        Engine = new SagaEngine(definitions, Store, Bus, Options.Create(options), Time, NullLogger<SagaEngine>.Instance);
    }

    public ManualTime Time { get; } = new();
    public TestBus Bus { get; } = new();
    public StubbornStore Store { get; }
    public SagaEngine Engine { get; }

    public static async Task<Stage> OpenAsync(ISagaStore? store = null, Action<SagasOptions>? configure = null, DefinitionCatalog? definitions = null)
    {
        var stage = new Stage(store, configure, definitions);
        await stage.Engine.StartAsync(CancellationToken.None);
        return stage;
    }

    public ValueTask<StartResult> StartAsync(string definition, string id, string input = """{"name":"Ada"}""") =>
        Engine.StartAsync(new StartRequest(definition, Payload.Parse(input)) { Id = new SagaId(id) });

    public ValueTask ReplyAsync(CommandItem command, Outcome outcome = Outcome.Ok, string? result = null) =>
        Engine.ReceiveAsync(new ReplyBatch([new ReplyItem(command.Saga, command.Step, command.Phase, command.Attempt, outcome,
            Payload.Parse(result ?? """{"id":"x","price":10}"""), "no", "no")]));

    public async Task<SagaState> SagaAsync(string id) => (await Engine.FindAsync(new SagaId(id)))!;

    public async Task<SagaState> EndOfAsync(string id) => (await Engine.WaitAsync(new SagaId(id), TimeSpan.FromHours(1)))!;

    public async ValueTask DisposeAsync()
    {
        await Engine.StoppingAsync(CancellationToken.None);
        await Store.DisposeAsync();
    }
}

/// <summary>The bus as seen from its other end.</summary>
internal sealed class TestBus : ITransport
{
    private readonly Channel<CommandItem> _sent = Channel.CreateUnbounded<CommandItem>();

    public string ReplyTo => "sagas.replies.test";
    public int Envelopes { get; private set; }

    /// <summary>While set, sends wait for it.</summary>
    public TaskCompletionSource? Blocked { get; set; }

    /// <summary>How many sends still fail.</summary>
    public int Failures { get; set; }

    public async Task SendAsync(string participant, CommandBatch batch, CancellationToken cancel)
    {
        Envelopes++;
        if (Blocked is { } blocked) await blocked.Task.WaitAsync(cancel);
        if (Failures-- > 0) throw new IOException("The bus is down.");
        foreach (var item in batch.Items) await _sent.Writer.WriteAsync(item, cancel);
    }

    public async Task<CommandItem> NextAsync() => await _sent.Reader.ReadAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(30));

    /// <summary>The next so many commands, by step.</summary>
    public async Task<Dictionary<string, CommandItem>> NextAsync(int count)
    {
        var commands = new Dictionary<string, CommandItem>();
        for (var i = 0; i < count; i++)
        {
            var command = await NextAsync();
            commands[command.Step] = command;
        }
        return commands;
    }

    public bool IsQuiet => _sent.Reader.Count == 0;
}

/// <summary>A store that does as it is told: fails before or after the commit, waits, or lets another node commit first.</summary>
internal sealed class StubbornStore(ISagaStore inner) : DelegatingSagaStore(inner)
{
    private int _failAfter = -1;

    /// <summary>Fails the next commit without doing it.</summary>
    public bool FailBefore { get; set; }

    /// <summary>Does the next commit and fails its answer.</summary>
    public bool FailAfter { get; set; }

    /// <summary>Fails every commit without doing it.</summary>
    public bool IsAway { get; set; }

    /// <summary>How many commits failed without being done.</summary>
    public int Failed { get; private set; }

    /// <summary>A saga of which it can say nothing.</summary>
    public SagaId? Unreadable { get; set; }

    /// <summary>It takes an operation with so many errors; more are too large for it.</summary>
    public int MostErrors { get; set; } = int.MaxValue;

    /// <summary>While set, commits wait for it.</summary>
    public TaskCompletionSource? Blocked { get; set; }

    /// <summary>Lets so many commits pass, then fails one without doing it.</summary>
    public void FailNext(int after) => _failAfter = after;

    /// <summary>Completes when a commit begins to wait.</summary>
    public TaskCompletionSource Waiting { get; set; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public List<SagaCommit> Commits { get; } = [];
    public int Calls { get; private set; }
    public override StoreHealth Health => Said;

    /// <summary>What it says of its health.</summary>
    public StoreHealth Said { get; set; } = StoreHealth.Good;

    public override async ValueTask<ImmutableArray<CommitOutcome>> CommitAsync(IReadOnlyList<SagaCommit> commits, CancellationToken cancel)
    {
        if (Blocked is { } blocked)
        {
            Waiting.TrySetResult();
            await blocked.Task;
        }
        if (FailBefore || IsAway || _failAfter-- == 0)
        {
            FailBefore = false;
            Failed++;
            throw new StoreUnavailableException("The disk is full.");
        }
        var outcomes = await base.CommitAsync(commits, cancel);
        lock (Commits)
        {
            Calls++;
            Commits.AddRange(commits);
        }
        if (FailAfter)
        {
            FailAfter = false;
            throw new StoreUnavailableException("The connection is cut.");
        }
        return outcomes;
    }

    public override ValueTask<SagaState?> FindAsync(SagaId id, CancellationToken cancel) =>
        id == Unreadable ? throw new InvalidDataException("These bytes are no saga.") : base.FindAsync(id, cancel);

    public override ValueTask<bool> SaveOperationAsync(Operation operation, CancellationToken cancel) =>
        operation.Errors.Length > MostErrors ? throw new ArgumentException("The operation is too large.") : base.SaveOperationAsync(operation, cancel);
}

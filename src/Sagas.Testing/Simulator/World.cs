using System.Globalization;
using Sagas.Runtime;

namespace Sagas.Testing.Simulator;

/// <summary>A node on a journal or two or three on a store that they share, two machines of participants, a bus, clients and operators; everything in it comes from the seed.</summary>
internal sealed class World
{
    private static readonly string[] Sold = ["journey", "bundle", "errand"];
    private readonly List<Machine> _machines;
    private readonly List<string>? _story;
    private readonly HashSet<int> _busyClients = [];
    private int _operations;
    private ulong _hash = 14695981039346656037;

    public World(int seed, int sagas, int nodes, IReadOnlySet<Fault> without, bool tellStory, Mutant mutant = Mutant.None)
    {
        (Seed, Sagas, Mutant) = (seed, sagas, mutant);
        Faults = mutant == Mutant.DoubtUntold ? new Faults(seed, without, Fault.Duplicate, Fault.HandlerErrorAfterEffect, Fault.RefusalAfterEffect) : new Faults(seed, without);
        Chance = new Random(seed);
        Scheduler = new Scheduler(seed ^ 0x5eed);
        Settings = new Settings(Chance);
        Audit = new Audit(this);
        Bus = new Bus(this);
        Definitions = DrawDefinitions();
        var server = new StoreServer(this);
        Nodes = nodes == 1 ? [new JournalNode(this, "node-1")] : [.. Enumerable.Range(1, nodes).Select(number => new SharedNode(this, server, string.Create(CultureInfo.InvariantCulture, $"node-{number}")))];
        _machines = [.. Nodes, new Host(this, "east"), new Host(this, "west")];
        _story = tellStory ? [] : null;
    }

    public int Seed { get; }
    public int Sagas { get; }
    public Mutant Mutant { get; }
    public Faults Faults { get; }
    public Random Chance { get; }
    public Scheduler Scheduler { get; }
    public Settings Settings { get; }
    public Audit Audit { get; }
    public Bus Bus { get; }
    public DefinitionCatalog Definitions { get; }
    public IReadOnlyList<Node> Nodes { get; }

    /// <summary>How many processes the shared store has seen.</summary>
    public int Lives { get; set; }

    public IReadOnlyList<string> Story => _story ?? [];
    public ulong Hash => _hash;

    /// <summary>What a dead process waits for.</summary>
    public static Task Never => new TaskCompletionSource().Task;

    /// <summary>From the first start to the audit.</summary>
    public void Run()
    {
        foreach (var machine in _machines) machine.Start();
        for (var number = 0; number < Sagas; number++)
        {
            var client = number;
            _busyClients.Add(client);
            Scheduler.After(null, Settings.Rush * Chance.NextDouble(), () => _ = CustomerAsync(client));
        }
        var end = Scheduler.Now + Settings.Rush + 10.Seconds();
        while (Scheduler.Now < end && Audit.Faults.Count == 0)
        {
            Scheduler.RunUntil(Scheduler.Now + 1.Seconds());
            foreach (var machine in _machines) machine.Tick();
            if (Faults.Strikes(Fault.Partition)) Part();
            if (Faults.Strikes(Fault.BulkCancel)) _ = OperateAsync(Fault.BulkCancel, OperationAction.Cancel);
            if (Faults.Strikes(Fault.BulkRetry)) _ = OperateAsync(Fault.BulkRetry, OperationAction.Retry);
        }
        Calm();
        // A clock that was set back keeps everybody waiting for it.
        var patience = Scheduler.Now + 10.Minutes() + (Faults.Hits[(int)Fault.ClockJump] > 0 ? 2.Hours() : TimeSpan.Zero);
        while (Scheduler.Now < patience && Audit.Faults.Count == 0 && !IsOver())
        {
            Scheduler.RunUntil(Scheduler.Now + 5.Seconds());
            foreach (var machine in _machines) machine.Tick();
        }
        // Stray messages come late and must find that nothing can be changed; then the power goes once more.
        Scheduler.RunUntil(Scheduler.Now + 1.Minutes());
        foreach (var node in Nodes.Where(node => !node.IsLost)) node.CutPower();
        Scheduler.RunUntil(Scheduler.Now + 10.Seconds() + Settings.Lease);
        if (Nodes.FirstOrDefault(node => !node.IsReady && !node.IsLost) is { } down) Audit.Fault("P7", down.Name, "the node does not start although nothing is wrong any more");
        else Finish(Audit.FinishAsync(Nodes[0].Stored!));
        foreach (var machine in _machines) machine.Forget();
    }

    /// <summary>What a node has at its start.</summary>
    public DefinitionCatalog DrawDefinitions() => new([new Journey(), new Bundle(), new Errand()], [], Settings.StuckAfter);

    public void Trace(string what, string whom, long number)
    {
        Fold(what);
        Fold(whom);
        _hash = (_hash ^ (ulong)number) * 1099511628211;
        _hash = (_hash ^ (ulong)Scheduler.Now.UtcTicks) * 1099511628211;
        if (_story is null) return;
        _story.Add(string.Create(CultureInfo.InvariantCulture, $"{(Scheduler.Now - Settings.Morning).TotalSeconds,10:0.0000} {what} {whom} {number}"));
    }

    /// <summary>Goes on later, unless the process dies before.</summary>
    public Task PassAsync(Process? process, TimeSpan delay)
    {
        var passed = new TaskCompletionSource();
        if (delay > TimeSpan.Zero) Scheduler.After(process, delay, passed.SetResult);
        else Scheduler.Post(process, passed.SetResult);
        return passed.Task;
    }

    /// <summary>The process dies here and now; who awaits this never goes on.</summary>
    public Task CrashHereAsync(Process process, Fault why)
    {
        foreach (var machine in _machines)
            if (ReferenceEquals(machine.Process, process)) machine.Crash(why);
        return Never;
    }

    public Task ReplyAsync(Process from, string queue, ReplyBatch batch)
    {
        if (!from.Alive) return Never;
        if (Mutant == Mutant.DoubtUntold) batch = batch with { Items = [.. batch.Items.Select(item => item with { InDoubt = false })] };
        foreach (var item in batch.Items) Audit.Answered(item);
        var node = Nodes.First(node => queue.EndsWith(node.Name, StringComparison.Ordinal));
        return Bus.SendAsync(from, node, queue, batch, node.ReceiveAsync);
    }

    public Task CommandAsync(Process from, string participant, CommandBatch batch)
    {
        foreach (var item in batch.Items) Audit.Sent(item);
        var host = (Host)_machines.Find(machine => machine.Name == participant)!;
        return Bus.SendAsync(from, host, "sagas." + participant, batch, host.AcceptAsync);
    }

    /// <summary>A message is there. Some buses keep it for a process that is not, others do not.</summary>
    public void Deliver(Machine to, string queue, Func<ValueTask> deliver)
    {
        if (to.Process is not { Alive: true } process || !to.IsReady)
        {
            if (Settings.BusKeeps) Scheduler.After(null, 300.Milliseconds(), () => Deliver(to, queue, deliver));
            return;
        }
        Trace("deliver", queue, 0);
        Scheduler.Post(process, async () => await deliver());
    }

    private bool IsOver() => _busyClients.Count == 0 && Nodes.All(node => node.IsReady || node.IsLost) && Finish(Nodes[0].Stored!.OldestUnfinishedAsync(CancellationToken.None).AsTask()) is null
        && Finish(Nodes[0].Stored!.OperationsAsync(CancellationToken.None).AsTask()).All(operation => operation.Status != OperationStatus.Running);

    /// <summary>Faults stop, and everything must end.</summary>
    private void Calm()
    {
        Faults.Quiet = true;
        Bus.Heal();
        foreach (var machine in _machines) machine.Heal();
        Trace("calm", "", 0);
    }

    private void Part()
    {
        // A node and a participant, or a node and the store that it shares.
        var one = Nodes[Nodes.Count == 1 ? 0 : Faults.Roll(Fault.Partition, Nodes.Count)].Name;
        var hosts = _machines.Count - Nodes.Count;
        var other = Faults.Roll(Fault.Partition, Nodes.Count == 1 ? hosts : hosts + 1) is var host && host < hosts ? _machines[Nodes.Count + host].Name : StoreServer.Name;
        var until = Scheduler.Now + Faults.Time(Fault.Partition, 1.Minutes());
        var ways = Faults.Roll(Fault.Partition, 3);
        if (ways != 1) Bus.Cut(one, other, until);
        if (ways != 2) Bus.Cut(other, one, until);
        Trace("partition", other, ways);
    }

    /// <summary>Starts a saga and repeats that until it hears that it is started; looks at it now and then; may call an operator.</summary>
    private async Task CustomerAsync(int number)
    {
        var id = new SagaId("s" + number.ToString(CultureInfo.InvariantCulture));
        var request = new StartRequest(Sold[Chance.Next(Sold.Length)], Payload.From(new Order(number))) { Id = id };
        Audit.Requested(request);
        for (var tries = 1; ; tries++)
        {
            var result = await AskAsync(engine => engine.StartAsync(request));
            if (result is { Outcome: StartOutcome.Started or StartOutcome.Exists })
            {
                Audit.Acknowledged(result);
                break;
            }
            if (result is { Outcome: not StartOutcome.Busy }) Audit.Fault("P8", id.Value, $"its start was answered with {result.Outcome}: {result.Problem}");
            // Some give up, and leave a saga behind that may have been started.
            if (result is null && Chance.Next(20) == 0)
            {
                _busyClients.Remove(number);
                return;
            }
            await PassAsync(null, TimeSpan.FromMilliseconds(Chance.Next(50, 2000)));
        }
        if (Faults.Strikes(Fault.RepeatedStart))
        {
            await PassAsync(null, TimeSpan.FromMilliseconds(Chance.Next(2000)));
            var repeated = await AskAsync(engine => engine.StartAsync(request));
            if (repeated is { Outcome: StartOutcome.Exists }) Audit.Seen(repeated.Saga!);
            else if (repeated is { Outcome: not StartOutcome.Busy }) Audit.Fault("P8", id.Value, $"its start was repeated and answered with {repeated.Outcome}");
        }
        if (Faults.Strikes(Fault.Cancel))
        {
            await PassAsync(null, TimeSpan.FromMilliseconds(Chance.Next(5000)));
            var cancelled = await AskAsync(engine => engine.RequestAsync(id, new SagaEvent.CancelRequested("changed their mind", "operator")));
            if (cancelled is { Outcome: RequestOutcome.Accepted }) Audit.Cancelled(id);
        }
        if (Faults.Strikes(Fault.Hold)) await HoldAsync(id);
        for (var looks = Chance.Next(4); looks > 0; looks--)
        {
            await PassAsync(null, 20.Seconds() * Chance.NextDouble());
            // Some look, and some wait for its end.
            if (await AskAsync(engine => Nodes.Count > 1 && looks == 2 ? engine.WaitAsync(id, 10.Seconds()) : engine.FindAsync(id)) is { } seen) Audit.Seen(seen);
        }
        _busyClients.Remove(number);
    }

    private async Task HoldAsync(SagaId id)
    {
        await PassAsync(null, TimeSpan.FromMilliseconds(Chance.Next(3000)));
        var paused = await AskAsync(engine => engine.RequestAsync(id, new SagaEvent.PauseRequested("wait", "operator")));
        // A request without an answer may still be on its way into a process that stands still.
        await PassAsync(null, paused is null ? 2.Minutes() : TimeSpan.FromMilliseconds(Chance.Next(8000)));
        while (await AskAsync(engine => engine.RequestAsync(id, new SagaEvent.ResumeRequested("go on", "operator"))) is null or { Outcome: RequestOutcome.Busy })
            await PassAsync(null, TimeSpan.FromMilliseconds(Chance.Next(100, 1000)));
    }

    /// <summary>An operator asks something of all sagas of a definition, or of those whose ids begin alike; who hears that it has begun holds the engine to it.</summary>
    private async Task OperateAsync(Fault fault, OperationAction action)
    {
        var filter = Faults.Roll(fault, 2) == 0 ? new SagaFilter(Definition: Sold[Faults.Roll(fault, Sold.Length)])
            : new SagaFilter(Text: "s" + Faults.Roll(fault, 10).ToString(CultureInfo.InvariantCulture));
        var reason = string.Create(CultureInfo.InvariantCulture, $"{action} {_operations++}");
        if (await AskAsync(engine => engine.OperateAsync(action, filter, reason, "operator")) is { } begun) Audit.Begun(begun);
    }

    /// <summary>Asks the engine; null: no answer, whatever the reason.</summary>
    private async Task<T?> AskAsync<T>(Func<SagaEngine, ValueTask<T>> ask) where T : class?
    {
        var node = Nodes[Nodes.Count == 1 ? 0 : Chance.Next(Nodes.Count)];
        if (!node.IsReady || node.Process is not { Alive: true } process) return null;
        // The client's patience is its own; the engine may be gone, or stand still.
        var answer = new TaskCompletionSource<T?>();
        Scheduler.Post(process, async () =>
        {
            try
            {
                var heard = await ask(node.Engine!);
                if (process.Alive) Scheduler.Post(null, () => answer.TrySetResult(heard));
            }
            catch (StoreUnavailableException)
            {
                if (process.Alive) Scheduler.Post(null, () => answer.TrySetResult(null));
            }
        });
        Scheduler.After(null, 15.Seconds(), () => answer.TrySetResult(null));
        return await answer.Task;
    }

    /// <summary>Runs the world until the task has ended.</summary>
    private T Finish<T>(Task<T> task)
    {
        for (var patience = Scheduler.Now + 1.Hours(); !task.IsCompleted && Scheduler.Now < patience;) Scheduler.RunUntil(Scheduler.Now + 1.Seconds());
        if (!task.IsCompleted) throw new InvalidOperationException("Something of the simulated world left its thread: a task never ended.");
        return task.GetAwaiter().GetResult();
    }

    private void Finish(Task task) => Finish(AsTrue(task));

    private static async Task<bool> AsTrue(Task task)
    {
        await task;
        return true;
    }

    private void Fold(string text)
    {
        foreach (var c in text) _hash = (_hash ^ c) * 1099511628211;
    }
}

/// <summary>How this seed's engine and journal are set up.</summary>
internal sealed class Settings
{
    private readonly int _workers, _batch, _mostOpen;
    private readonly TimeSpan _lazyFlush;

    public Settings(Random chance)
    {
        Rush = TimeSpan.FromSeconds(20 + chance.Next(160));
        StuckAfter = chance.Next(3, 11);
        Concurrency = chance.Next(3) == 0 ? chance.Next(1, 5) : 64;
        BusKeeps = chance.Next(2) == 0;
        Retention = 7.Days();
        var segment = 1 << chance.Next(13, 18);
        Journal = new JournalStoreOptions { Path = "/data/sagas", SegmentBytes = segment, ReserveBytes = chance.Next(2) * segment / 2, Preallocate = chance.Next(4) > 0 };
        (_workers, _batch, _mostOpen) = (chance.Next(1, 4), chance.Next(3) == 0 ? chance.Next(1, 16) : 1024, chance.Next(4) == 0 ? chance.Next(16, 200) : 100_000);
        _lazyFlush = TimeSpan.FromMilliseconds(chance.Next(5, 500));
        Lease = TimeSpan.FromSeconds(chance.Next(2, 16));
    }

    public DateTimeOffset Morning { get; } = new(2030, 6, 1, 12, 0, 0, TimeSpan.Zero);

    /// <summary>How long customers come.</summary>
    public TimeSpan Rush { get; }

    public int StuckAfter { get; }
    public int Concurrency { get; }
    public bool BusKeeps { get; }
    public TimeSpan Retention { get; }
    public JournalStoreOptions Journal { get; }

    /// <summary>For how long a node on a shared store is taken for alive.</summary>
    public TimeSpan Lease { get; }

    public SagasOptions Engine(string node) => new()
    {
        Node = node, Workers = _workers, BatchSize = _batch, MailboxSize = 1 << 16, MaxOpenSagas = _mostOpen, LazyFlush = _lazyFlush, StuckAfter = StuckAfter, Retention = Retention,
    };
}

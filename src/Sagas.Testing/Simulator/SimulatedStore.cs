using System.Collections.Immutable;
using Sagas.Journal;
using Sagas.Participants;
using Sagas.Runtime;

namespace Sagas.Testing.Simulator;

/// <summary>The production store, with everything that can happen between it and the engine.</summary>
internal sealed class SimulatedStore(World world, Machine node, Process process, ISagaStore inner) : DelegatingSagaStore(inner)
{
    private readonly Dictionary<SagaId, SagaState?> _before = [];

    public override async ValueTask<IReadOnlyList<SagaState>> OpenAsync(CancellationToken cancel)
    {
        var open = await base.OpenAsync(cancel);
        if (!process.Alive) await World.Never;
        if (world.Mutant == Mutant.SkipRecovery) return [];
        if (world.Mutant == Mutant.RecoverOneShort) open = [.. open.Skip(1)];
        if (world.Faults.Strikes(Fault.CrashAfterRecovery))
            world.Scheduler.After(process, world.Faults.Time(Fault.CrashAfterRecovery, 50.Milliseconds()), () => node.Crash(Fault.CrashAfterRecovery));
        return open;
    }

    public override async ValueTask<ImmutableArray<CommitOutcome>> CommitAsync(IReadOnlyList<SagaCommit> commits, CancellationToken cancel)
    {
        if (!process.Alive) await World.Never;
        var faults = world.Faults;
        if (faults.Strikes(Fault.CrashBeforeCommit)) await world.CrashHereAsync(process, Fault.CrashBeforeCommit);
        if (faults.Strikes(Fault.StoreError)) throw new StoreUnavailableException("The store does not answer.");
        if (world.Mutant == Mutant.ForgetHistory && world.Chance.Next(20) == 0) commits = [.. commits.Select(commit => commit with { History = [] })];
        if (world.Mutant == Mutant.ReadStale)
            foreach (var commit in commits) _before[commit.State.Id] = await base.FindAsync(commit.State.Id, cancel);
        var committing = base.CommitAsync(commits, cancel).AsTask();
        if (world.Mutant == Mutant.DispatchBeforeCommit) return [.. commits.Select(_ => CommitOutcome.Committed)];
        var outcomes = await committing;
        if (!process.Alive) await World.Never;
        for (var i = 0; i < commits.Count; i++)
            if (outcomes[i] == CommitOutcome.Committed) world.Audit.Committed(commits[i].State);
        world.Trace("commit", process.Name, commits.Count);
        if (world.Mutant == Mutant.DropVersionCheck) outcomes = [.. commits.Select(_ => CommitOutcome.Committed)];
        if (faults.Strikes(Fault.CrashAfterCommit)) await world.CrashHereAsync(process, Fault.CrashAfterCommit);
        await world.PassAsync(process, TimeSpan.Zero);
        if (faults.Strikes(Fault.CommitAnswerLost)) throw new StoreUnavailableException("The store did it and does not say so.");
        return outcomes;
    }

    public override ValueTask<SagaState?> FindAsync(SagaId id, CancellationToken cancel) =>
        world.Mutant == Mutant.ReadStale && world.Chance.Next(4) == 0 && _before.GetValueOrDefault(id) is { } stale ? new(stale) : base.FindAsync(id, cancel);

    public override async ValueTask<bool> SaveOperationAsync(Operation operation, CancellationToken cancel)
    {
        if (!process.Alive) await World.Never;
        var faults = world.Faults;
        if (faults.Strikes(Fault.CrashBeforeCommit)) await world.CrashHereAsync(process, Fault.CrashBeforeCommit);
        if (faults.Strikes(Fault.StoreError)) throw new StoreUnavailableException("The store does not answer.");
        var saved = world.Mutant == Mutant.ForgetOperation || await base.SaveOperationAsync(operation, cancel);
        if (!process.Alive) await World.Never;
        world.Trace("operation", process.Name, operation.Version);
        if (faults.Strikes(Fault.CrashAfterCommit)) await world.CrashHereAsync(process, Fault.CrashAfterCommit);
        await world.PassAsync(process, TimeSpan.Zero);
        if (faults.Strikes(Fault.CommitAnswerLost)) throw new StoreUnavailableException("The store did it and does not say so.");
        return saved;
    }
}

/// <summary>The production barrier's store, with everything that can happen between it and the barrier.</summary>
internal sealed class SimulatedBarrier(World world, Process process, IBarrierStore inner) : IBarrierStore
{
    private readonly HashSet<(string Saga, string Step)> _fallen = [];

    /// <summary>Its journal has failed.</summary>
    public bool IsSick { get; private set; }

    public ValueTask OpenAsync(CancellationToken cancel) => inner.OpenAsync(cancel);

    public async ValueTask<BarrierRow?> FindAsync(string saga, string step, CancellationToken cancel)
    {
        var row = await inner.FindAsync(saga, step, cancel);
        if (world.Mutant == Mutant.FenceFallsOnce && row is { Forward: BarrierForward.None } && !_fallen.Add((saga, step))) return null;
        return row;
    }

    public async ValueTask WriteAsync(BarrierRow row, CancellationToken cancel)
    {
        if (!process.Alive) await World.Never;
        if (world.Faults.Strikes(Fault.BarrierError)) throw new IOException("The barrier's store does not answer.");
        world.Audit.Begun(row);
        if (IsForgotten(row)) return;
        try
        {
            if (world.Mutant == Mutant.ReplyBeforeRow) _ = LateAsync(row);
            else await inner.WriteAsync(row, cancel);
        }
        catch (JournalFailedException)
        {
            IsSick = true;
            throw;
        }
        if (!process.Alive) await World.Never;
        if (world.Faults.Strikes(Fault.CrashBeforeReply)) await world.CrashHereAsync(process, Fault.CrashBeforeReply);
        await world.PassAsync(process, TimeSpan.Zero);
    }

    public ValueTask DisposeAsync() => inner.DisposeAsync();

    private async Task LateAsync(BarrierRow row)
    {
        await world.PassAsync(process, 200.Milliseconds());
        await inner.WriteAsync(row, CancellationToken.None);
    }

    private bool IsForgotten(BarrierRow row) => world.Mutant switch
    {
        Mutant.ForgetEmptyCancel => row.Forward == BarrierForward.None,
        Mutant.SkipBegun => row is { Forward: BarrierForward.Started, Second: null },
        Mutant.SkipSecondDone => row.SecondDone && row.Forward != BarrierForward.None,
        Mutant.SkipRefusal => row.Forward == BarrierForward.Refused,
        _ => false,
    };
}

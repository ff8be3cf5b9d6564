namespace Sagas.Runtime;

// Several nodes share a store. Each unfinished saga has an owner: the node that committed it last. It alone hears the timers of the saga; what else happens to
// it (a reply, a callback, an operator's request) may come to any node, which loads the saga, decides, and becomes its owner by its commit.
// Leases say who is alive, and so whose sagas are to be taken over. They are not what makes it safe: every commit is compared with the stored version and
// owner, and whoever lost a saga meanwhile (a node that was paused, two that decide at once) meets a conflict, looks again and lets go.

/// <summary>A store that several nodes share. Its nodes take over each other's sagas.</summary>
public interface ISharedSagaStore : ISagaStore
{
    /// <summary>This node's name.</summary>
    string Node { get; }

    /// <summary>Renews this node's lease, by the store's clock, and says which nodes there are, this one and those that are gone included.</summary>
    /// <exception cref="NodeNameTakenException">Another process is alive under this node's name.</exception>
    ValueTask<IReadOnlyList<NodeLease>> RenewAsync(CancellationToken cancel);

    /// <summary>Makes this node the owner of at most so many sagas of another and returns them; none are left when it returns none.</summary>
    ValueTask<IReadOnlyList<SagaState>> ClaimAsync(string node, int most, CancellationToken cancel);

    /// <summary>The unfinished sagas that this node owns.</summary>
    ValueTask<IReadOnlyList<SagaState>> OwnedAsync(CancellationToken cancel);

    /// <summary>How many unfinished sagas each of the nodes owns.</summary>
    ValueTask<IReadOnlyDictionary<string, long>> OwnersAsync(IReadOnlyList<string> nodes, CancellationToken cancel);

    /// <summary>Ends this node's lease: the others take over its sagas at once.</summary>
    ValueTask ReleaseAsync(CancellationToken cancel);

    /// <summary>Forgets a node that has been gone for a day.</summary>
    ValueTask ForgetAsync(NodeLease node, CancellationToken cancel);

    /// <summary>The saga as last committed and its owner, or null.</summary>
    ValueTask<OwnedSaga?> FindOwnedAsync(SagaId id, CancellationToken cancel);
}

/// <summary>A node and its lease.</summary>
/// <param name="Id">Its name.</param>
/// <param name="StartedAt">When its process was started.</param>
/// <param name="HeartbeatAt">When it last renewed its lease.</param>
/// <param name="IsAlive">Whether its lease still runs.</param>
public sealed record NodeLease(string Id, DateTimeOffset StartedAt, DateTimeOffset HeartbeatAt, bool IsAlive);

/// <summary>A saga and the node that owns it.</summary>
/// <param name="Saga">As last committed.</param>
/// <param name="Owner">The node that commits it; null: it has ended.</param>
public sealed record OwnedSaga(SagaState Saga, string? Owner);

/// <summary>Two processes run under one node's name.</summary>
public sealed class NodeNameTakenException(string message) : Exception(message);

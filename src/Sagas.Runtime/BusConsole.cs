namespace Sagas.Runtime;

/// <summary>What a bus between processes tells of itself. None is registered where engine and participants share a process.</summary>
public interface IBusMonitor
{
    /// <summary>What it is, such as <c>rabbitmq</c>.</summary>
    string Name { get; }

    /// <summary>Why nothing gets through, or late; null: all is well, as far as is known.</summary>
    string? Fault { get; }

    /// <summary>The queues of these participants and of this node's replies, those that are there.</summary>
    /// <exception cref="BusUnavailableException">The bus does not answer.</exception>
    Task<IReadOnlyList<BusQueue>> QueuesAsync(IEnumerable<string> participants, CancellationToken cancel);
}

/// <summary>A queue of a bus.</summary>
/// <param name="Name">Its name on the bus.</param>
/// <param name="Messages">Messages that wait to be delivered.</param>
/// <param name="Consumers">Processes that hear on it; none: what is sent there waits.</param>
public sealed record BusQueue(string Name, long Messages, long Consumers);

/// <summary>Envelopes that could not be read, kept aside by a bus that can keep them. None is registered where the bus cannot.</summary>
public interface IDeadLetters
{
    /// <summary>The oldest of them, at most <paramref name="limit"/>, and how many there are.</summary>
    /// <exception cref="BusUnavailableException">The bus does not answer.</exception>
    Task<DeadLetterPage> ListAsync(int limit, CancellationToken cancel);

    /// <summary>Puts one back on the queue where it was found; false: there is none of that id.</summary>
    /// <exception cref="BusUnavailableException">The bus does not answer: whether it was put back is unknown.</exception>
    Task<bool> ReplayAsync(string id, CancellationToken cancel);

    /// <summary>Throws one away; false: there is none of that id.</summary>
    /// <exception cref="BusUnavailableException">The bus does not answer: whether it is gone is unknown.</exception>
    Task<bool> DiscardAsync(string id, CancellationToken cancel);
}

/// <summary>An envelope that could not be read.</summary>
/// <param name="Id">Names it for a replay.</param>
/// <param name="Queue">Where it was found.</param>
/// <param name="At">When it was put aside.</param>
/// <param name="Reason">What is wrong with it.</param>
/// <param name="Body">Its bytes.</param>
public sealed record DeadLetter(string Id, string Queue, DateTimeOffset At, string Reason, ReadOnlyMemory<byte> Body);

/// <summary>Some dead letters.</summary>
/// <param name="Count">How many there are in all.</param>
/// <param name="Items">The oldest of them.</param>
public sealed record DeadLetterPage(long Count, IReadOnlyList<DeadLetter> Items);

/// <summary>The bus does not answer.</summary>
public sealed class BusUnavailableException(string message, Exception? inner = null) : Exception(message, inner);

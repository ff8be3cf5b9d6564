using System.Collections.Concurrent;

namespace Sagas.Participants;

/// <summary>
/// One item of a step at a time. Who comes while another runs waits here, holding no thread and no place in the participant: of the same phase it shares the
/// reply, of another phase it is handed in again afterwards.
/// </summary>
internal sealed class Turns
{
    // A hung handler's repeats must not pile up for ever; the engine has given up the oldest of them.
    private const int MostWaiting = 256;

    private readonly ConcurrentDictionary<StepKey, Turn> _turns = new();

    /// <summary>Takes the turn, or leaves the item with whoever has it (null).</summary>
    public Turn? TryEnter(in Work work)
    {
        var key = new StepKey(work.Item.Saga, work.Item.Step);
        var mine = new Turn(key);
        while (!_turns.TryAdd(key, mine))
        {
            if (!_turns.TryGetValue(key, out var other)) continue;
            lock (other)
            {
                if (other.Over) continue;
                other.Waiting ??= new Queue<Work>();
                if (other.Waiting.Count >= MostWaiting) other.Waiting.Dequeue().Receipt?.GivenUp();
                other.Waiting.Enqueue(work);
                return null;
            }
        }
        return mine;
    }

    /// <summary>Ends the turn and returns those who wait, in order of arrival; null: nobody.</summary>
    public Queue<Work>? Leave(Turn turn)
    {
        lock (turn)
        {
            turn.Over = true;
            _turns.TryRemove(turn.Key, out _);
            return turn.Waiting;
        }
    }
}

internal sealed class Turn(StepKey key)
{
    public StepKey Key { get; } = key;
    public bool Over { get; set; }
    public Queue<Work>? Waiting { get; set; }
}

namespace Sagas.Participants;

/// <summary>Says when every item of an envelope has been answered and its reply has left.</summary>
internal sealed class Receipt(int items)
{
    private readonly TaskCompletionSource _settled = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _open = items;

    /// <summary>Completes with the last reply; fails as soon as one item or its reply is given up.</summary>
    public Task Settled => _settled.Task;

    public void Replied()
    {
        if (Interlocked.Decrement(ref _open) <= 0) _settled.TrySetResult();
    }

    public void GivenUp() => _settled.TrySetException(new InvalidOperationException("An item of the envelope was given up unanswered: the participant stops, or its replies cannot be sent."));
}

package main

// lines are all there are, in the order of the page.
var lines = []line{
	establishedLine, firstPacketLine, classifyLine, listLine, dropLine,
	policyLine, requestsLine, connectsLine, streamLine, lookRequestsLine, lookConnectsLine, lookStreamLine,
	holdFirstLine, holdRequestsLine, holdStreamLine, holdConnectsLine, eventsLine, memoryLine, floodLine,
}
